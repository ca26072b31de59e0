//! Golden models of each family, lowered, packed as NEFFs and executed by the emulated runtime: what comes out are the
//! bits that the interpreter of modules makes, with weights and caches written once and shared by both programs.

#[path = "../../../tests/emulators/libnrt/tests/contract/module.rs"]
#[expect(dead_code, reason = "only how a NEFF is made")]
mod module;
#[path = "../../../tests/emulators/libnrt/tests/contract/process.rs"]
#[expect(dead_code, reason = "what only the emulator's own tests need")]
mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use gimbal_hlo::DType;
use gimbal_hlo::golden::{self, DECODE, Golden, PREFILL, folder, wants};
use gimbal_hlo::rig::{Loaded, Rig};
use gimbal_model::Model as Source;
use gimbal_neuron::bundle::{self, Bundle, Dtype, Machine, Writer};
use gimbal_neuron::lower::{Draw, Parameter, Part, Pick, Wants};
use gimbal_neuron::probe::Chip;
use gimbal_neuron::runtime::{Executed, Model, Runtime, Tensor, TensorSet, execute};
use process::{assert_clean, library, on};
use safetensors::tensor::TensorView;

/// What a tensor is to hold.
type Content = Vec<(String, Vec<u8>)>;

/// All that a model's ranks are to do.
struct Plan {
    /// What a bundle says of both programs.
    programs: [Tensors; 2],
    /// NEFFs of both programs.
    neffs: [Vec<u8>; 2],
    /// Of each rank: tables of angles and weights.
    constants: Vec<Content>,
    steps: Vec<Step>,
}

/// What a program takes and gives.
type Tensors = (Vec<bundle::Tensor>, Vec<bundle::Output>);

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
    use Parameter::{Cosines, Keys, Sines, Values, Weight};
    !matches!(parameter, Cosines(_) | Sines(_) | Weight(_) | Keys(_) | Values(_))
}

const fn is_cache(parameter: Parameter) -> bool {
    matches!(parameter, Parameter::Keys(_) | Parameter::Values(_))
}

/// Runs the interpreter, and notes what goes in and what comes out.
fn plan(source: &Source, prompts: [&[u32]; 2], dtype: DType, ranks: usize) -> Plan {
    let wants = |bucket| Wants { has_draws: true, ..wants(bucket, dtype) };
    let mut rig = Rig::new(source, ranks, &wants(DECODE)).expect("it is lowered");
    let programs = [PREFILL, DECODE].map(|bucket| rig.load(&wants(bucket)).expect("it is lowered"));
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
        let mut picks = golden::picks(&parts);
        // The first row by its most probable token, the second one drawn.
        if let Some(second) = picks.get_mut(1) {
            second.draw =
                Draw { temperature: 0.8, top_k: 40, top_p: 0.9, min_p: 0.0, uniform: 0.7 };
        }
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
    let neffs = programs
        .each_ref()
        .map(|loaded| module::neff(&module::header(), loaded.program.module.write()));
    Plan { programs: programs.each_ref().map(tensors), neffs, constants, steps }
}

/// As a bundle says it.
fn tensors(loaded: &Loaded) -> Tensors {
    let dtype = |shape: &gimbal_hlo::Shape| match shape.dtype {
        DType::Pred => Dtype::U8,
        DType::S32 => Dtype::I32,
        DType::U32 => Dtype::U32,
        DType::F32 => Dtype::F32,
        DType::Bf16 => Dtype::Bf16,
    };
    let dims = |shape: &gimbal_hlo::Shape| shape.dims.iter().map(|size| *size as u64).collect();
    let input = |(parameter, named): (&Parameter, gimbal_hlo::Named<'_>)| bundle::Tensor {
        name: named.name.to_owned(),
        dtype: dtype(named.shape),
        shape: dims(named.shape),
        from: match *parameter {
            parameter if is_input(parameter) => bundle::Source::Step,
            parameter if is_cache(parameter) => bundle::Source::State,
            _ => bundle::Source::Weights,
        },
    };
    let module = &loaded.module;
    let inputs: Vec<bundle::Tensor> =
        loaded.program.parameters.iter().zip(module.parameters()).map(input).collect();
    let output = |(i, named): (usize, gimbal_hlo::Named<'_>)| bundle::Output {
        name: named.name.to_owned(),
        dtype: dtype(named.shape),
        shape: dims(named.shape),
        alias: module
            .aliases()
            .iter()
            .find(|alias| alias.result == i)
            .map(|alias| inputs[alias.parameter].name.clone()),
    };
    let outputs = module.results().enumerate().map(output).collect();
    (inputs, outputs)
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
fn run(runtime: &Arc<Runtime>, plan: &Plan) {
    let ranks = u32::try_from(plan.constants.len()).expect("few");
    std::thread::scope(|scope| {
        for rank in 0..ranks {
            scope.spawn(move || {
                let mut device = Device::new(runtime, plan, [rank, ranks]);
                plan.steps.iter().for_each(|step| device.step(step, rank));
            });
        }
    });
}

/// Each family by each type, alone and as two ranks.
fn every_family(ranks: usize) {
    let golden = Golden::read().expect("golden files are there");
    let runtime = Runtime::open(Some(&library())).expect("the emulator");
    let prompts = [&golden.prompts[2], &golden.prompts[1]].map(Vec::as_slice);
    assert!(golden.families.len() >= 20, "{}", golden.families.len());
    for family in golden.families.keys() {
        for dtype in [DType::F32, DType::Bf16] {
            let source = Source::open(&folder().join(family)).expect("a golden model");
            run(&runtime, &plan(&source, prompts, dtype, ranks));
        }
    }
}

/// Writes a plan's programs and weights as a bundle.
fn bundled(place: &Path, plan: &Plan) -> Bundle {
    let writer = Writer::create(place).expect("there is none");
    let program = |i: usize, bucket: gimbal_batch::Bucket| {
        let (inputs, outputs) = plan.programs[i].clone();
        let gimbal_batch::Bucket { sequences, rows_each, context } = bucket;
        let neff = writer.add(&format!("{i}.neff"), plan.neffs[i].as_slice());
        let neff = neff.expect("it is written");
        bundle::Program { sequences, rows_each, context, neff, inputs, outputs }
    };
    let weights = |(rank, content): (usize, &Content)| {
        let known = &plan.programs[0].0;
        let views = content.iter().map(|(name, bytes)| {
            let tensor = known.iter().find(|tensor| tensor.name == *name).expect("it is taken");
            let dtype = match tensor.dtype {
                Dtype::F32 => safetensors::Dtype::F32,
                Dtype::Bf16 => safetensors::Dtype::BF16,
                other => panic!("{name} is of {other:?}"),
            };
            let shape = tensor.shape.iter().map(|n| usize::try_from(*n).expect("small")).collect();
            (name, TensorView::new(dtype, shape, bytes).expect("they fit"))
        });
        let file = safetensors::serialize(views, None).expect("a file");
        let stored = writer.add(&format!("{rank}.safetensors"), file.as_slice());
        let rank = u32::try_from(rank).expect("few");
        bundle::Weights { rank, stored: stored.expect("it is written") }
    };
    let manifest = bundle::Manifest {
        format: bundle::FORMAT.to_owned(),
        model: "golden".to_owned(),
        fingerprint: "0".repeat(64),
        target: Chip::Inf2,
        lnc: 1,
        ranks: u32::try_from(plan.constants.len()).expect("few"),
        compiler: bundle::Compiler {
            version: "FAKE".to_owned(),
            flags: Vec::new(),
            sdk: "2.32.0".to_owned(),
            runtime: [2, 34],
        },
        programs: vec![program(0, PREFILL), program(1, DECODE)],
        weights: plan.constants.iter().enumerate().map(weights).collect(),
    };
    writer.finish(&manifest).expect("it is whole")
}

/// The plan again, of what a bundle holds.
fn unbundled(bundle: &Bundle, steps: Vec<Step>) -> Plan {
    let programs = [0, 1].map(|i| &bundle.manifest.programs[i]);
    let neffs = programs.map(|program| bundle.neff(program).expect("it is whole"));
    let read = |weights: &bundle::Weights| -> Content {
        let file = std::fs::read(bundle.path(weights)).expect("it is there");
        let tensors = safetensors::SafeTensors::deserialize(&file).expect("it is whole");
        tensors.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect()
    };
    let constants = bundle.manifest.weights.iter().map(read).collect();
    let programs = programs.map(|program| (program.inputs.clone(), program.outputs.clone()));
    Plan { programs, neffs, constants, steps }
}

#[test]
fn a_bundle_holds_all_that_an_execution_takes() {
    let test = "a_bundle_holds_all_that_an_execution_takes";
    let told = on("", test, || {
        let golden = Golden::read().expect("golden files are there");
        let prompts = [&golden.prompts[2], &golden.prompts[1]].map(Vec::as_slice);
        let source = Source::open(&folder().join("mistral")).expect("a golden model");
        let plan = plan(&source, prompts, DType::Bf16, 2);
        let place = process::folder("bundle").join("mistral");
        let bundle = bundled(&place, &plan);
        let runtime = Runtime::open(Some(&library())).expect("the emulator");
        let (cores, version) = (runtime.cores(), Some(runtime.version()));
        let machine = Machine { chip: Chip::Inf2, lnc: 1, cores, runtime: version };
        bundle.check(&machine).expect("it is for such a machine");
        bundle.verify().expect("it is whole");
        run(&runtime, &unbundled(&bundle, plan.steps));
        std::fs::remove_dir_all(place.parent().expect("a folder")).expect("ours");
    });
    assert_clean(told);
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
