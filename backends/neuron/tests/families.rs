//! Golden models of each family, lowered, packed as NEFFs and executed by the emulated runtime: what comes out are the
//! bits that the interpreter of modules makes, with weights and caches written once and shared by both programs.

#[path = "../../../tests/emulators/libnrt/tests/contract/module.rs"]
#[expect(dead_code, reason = "only how a NEFF is made")]
mod module;
#[path = "../../../tests/emulators/libnrt/tests/contract/process.rs"]
#[expect(dead_code, reason = "what only the emulator's own tests need")]
mod process;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use gimbal_hlo::DType;
use gimbal_hlo::golden::{self, DECODE, Golden, PREFILL, folder, wants};
use gimbal_hlo::rig::{Loaded, Rig};
use gimbal_model::Model as Source;
use gimbal_neuron::lower::{Parameter, Part, Pick};
use gimbal_neuron::runtime::{Executed, Model, Runtime, Tensor, TensorSet, execute};
use process::{assert_clean, library, on};

/// What a tensor is to hold.
type Content = Vec<(String, Vec<u8>)>;

/// All that a model's ranks are to do.
struct Plan {
    /// NEFFs of both programs.
    neffs: [Vec<u8>; 2],
    /// Of each rank: tables of angles and weights.
    constants: Vec<Content>,
    steps: Vec<Step>,
}

/// One step.
struct Step {
    /// Which of both programs.
    program: usize,
    /// Of each rank.
    inputs: Vec<Content>,
    /// Results of the interpreter, of as many rows as have one.
    ids: Vec<i32>,
    logits: Vec<Vec<f32>>,
}

const fn is_input(parameter: Parameter) -> bool {
    use Parameter::{Picks, Positions, Rank, Slots, Tables, Tokens};
    matches!(parameter, Tokens | Positions | Slots | Tables | Picks | Rank)
}

const fn is_cache(parameter: Parameter) -> bool {
    matches!(parameter, Parameter::Keys(_) | Parameter::Values(_))
}

/// Runs the interpreter, and notes what goes in and what comes out.
fn plan(source: &Source, prompts: [&[u32]; 2], dtype: DType, ranks: usize) -> Plan {
    let mut rig = Rig::new(source, ranks, &wants(DECODE, dtype)).expect("it is lowered");
    let programs =
        [PREFILL, DECODE].map(|bucket| rig.load(&wants(bucket, dtype)).expect("it is lowered"));
    let content = |rig: &Rig, loaded: &Loaded, parts: &[Part<'_>], picks: &[Pick]| {
        (0..ranks)
            .map(|rank| rig.arguments(loaded, parts, picks, rank).expect("it fits"))
            .map(|buffers| {
                let named = loaded.program.parameters.iter().zip(loaded.module.parameters());
                named.zip(buffers).map(|((p, n), b)| (*p, n.name.to_owned(), b)).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    let mut constants = Vec::new();
    let mut steps = Vec::new();
    let mut all: Vec<(usize, Vec<Part<'_>>)> =
        golden::chunks(prompts).into_iter().map(|parts| (0, parts)).collect();
    all.push((1, golden::last(prompts)));
    for (program, parts) in all {
        let loaded = &programs[program];
        let pick = |(part, _)| Pick { part, ..Pick::default() };
        let picks: Vec<Pick> = (0..).zip(&parts).map(pick).collect();
        let given = content(&rig, loaded, &parts, &picks);
        let chosen = |is_wanted: fn(Parameter) -> bool| -> Vec<Content> {
            let of = |rank: &Vec<(Parameter, String, gimbal_hlo::Buffer)>| {
                let wanted = rank.iter().filter(|(parameter, ..)| is_wanted(*parameter));
                wanted.map(|(_, name, buffer)| (name.clone(), buffer.bytes().to_vec())).collect()
            };
            given.iter().map(of).collect()
        };
        if constants.is_empty() {
            constants = chosen(|parameter| !is_input(parameter) && !is_cache(parameter));
        }
        let inputs = chosen(is_input);
        let step = rig.step(loaded, &parts, &picks).expect("it runs");
        steps.push(Step { program, inputs, ids: step.ids, logits: step.logits });
    }
    let neffs =
        programs.map(|loaded| module::neff(&module::header(), loaded.program.module.write()));
    Plan { neffs, constants, steps }
}

/// What one rank has on its core.
struct Device {
    sets: Vec<(TensorSet, TensorSet)>,
    tensors: BTreeMap<String, Rc<Tensor>>,
}

impl Device {
    /// Loads both programs, and makes each tensor once: programs share what has one name.
    fn new(runtime: &Arc<Runtime>, plan: &Plan, [rank, ranks]: [u32; 2]) -> Self {
        let mut device = Self { sets: Vec::new(), tensors: BTreeMap::new() };
        for (i, neff) in plan.neffs.iter().enumerate() {
            let name = format!("program {i}");
            let model = match ranks {
                1 => Model::load(runtime, &name, neff, rank),
                _ => Model::load_rank(runtime, &name, neff, rank, [rank, ranks]),
            };
            let model = model.expect("a model");
            let mut inputs = TensorSet::inputs(&model).expect("a set");
            let mut outputs = TensorSet::outputs(&model).expect("a set");
            for (facts, set) in model
                .inputs()
                .iter()
                .map(|facts| (facts, true))
                .chain(model.outputs().iter().map(|facts| (facts, false)))
            {
                // Step inputs differ between programs, and so do results.
                let is_shared =
                    ["keys.", "values.", "rope."].iter().any(|p| facts.name.starts_with(p));
                let is_weight = plan.constants[rank as usize].iter().any(|(n, _)| *n == facts.name);
                let key = match is_shared || is_weight {
                    true => facts.name.clone(),
                    false => format!("{} of {i}", facts.name),
                };
                let made = device.tensors.entry(key).or_insert_with(|| {
                    Tensor::new(runtime, Some(rank), facts.bytes, &facts.name).expect("room")
                });
                let put = if set { &mut inputs } else { &mut outputs };
                put.insert(&facts.name, made).expect("it fits");
            }
            device.sets.push((inputs, outputs));
        }
        for (name, bytes) in &plan.constants[rank as usize] {
            device.tensors[name].write(0, bytes).expect("it has room");
        }
        device
    }

    fn step(&mut self, step: &Step, rank: u32) {
        let (inputs, outputs) = &mut self.sets[step.program];
        for (name, bytes) in &step.inputs[rank as usize] {
            inputs.tensor(name).expect("an input").write(0, bytes).expect("it has room");
        }
        assert_eq!(execute(inputs, outputs).expect("it runs"), Executed::Whole);
        let read = |name: &str| {
            let tensor = outputs.tensor(name).expect("an output");
            let mut bytes = vec![0; tensor.bytes()];
            tensor.read(0, &mut bytes).expect("it is there");
            bytes
        };
        let ids: Vec<u8> = step.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        assert_eq!(read("ids")[..ids.len()], ids);
        let logits: Vec<u8> = step.logits.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
        assert!(read("logits")[..logits.len()] == logits, "other bits than the interpreter's");
    }
}

/// Runs the plan of a family; the interpreter is the oracle, whose own oracle are other tests.
fn run(runtime: &Arc<Runtime>, family: &str, prompts: [&[u32]; 2], dtype: DType, ranks: u32) {
    let source = Source::open(&folder().join(family)).expect("a golden model");
    let plan = plan(&source, prompts, dtype, ranks as usize);
    std::thread::scope(|scope| {
        for rank in 0..ranks {
            let plan = &plan;
            scope.spawn(move || {
                let mut device = Device::new(runtime, plan, [rank, ranks]);
                plan.steps.iter().for_each(|step| device.step(step, rank));
            });
        }
    });
}

/// Each family by each type, alone and as two ranks.
fn every_family(ranks: u32) {
    let golden = Golden::read().expect("golden files are there");
    let runtime = Runtime::open(Some(&library())).expect("the emulator");
    let prompts = [&golden.prompts[2], &golden.prompts[1]].map(Vec::as_slice);
    assert!(golden.families.len() >= 20, "{}", golden.families.len());
    for family in golden.families.keys() {
        for dtype in [DType::F32, DType::Bf16] {
            run(&runtime, family, prompts, dtype, ranks);
        }
    }
}

#[test]
fn every_family_is_executed_as_the_interpreter_runs_it() {
    let test = "every_family_is_executed_as_the_interpreter_runs_it";
    assert_clean(on("", test, || every_family(1)));
}

#[test]
fn two_ranks_of_every_family_are_executed_together() {
    let test = "two_ranks_of_every_family_are_executed_together";
    assert_clean(on("", test, || every_family(2)));
}
