//! Owners of what libnrt gives, on the emulated runtime: what is computed, what each refusal comes to, and that nothing is
//! left over.

#[path = "../../../tests/emulators/libnrt/tests/contract/module.rs"]
mod module;
#[path = "../../../tests/emulators/libnrt/tests/contract/process.rs"]
#[expect(dead_code, reason = "what only the emulator's own tests need")]
mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use gimbal_neuron::runtime::{
    Class, ElementType, Executed, Model, Runtime, RuntimeError, Status, Tensor, TensorSet, execute,
};
use module::{INPUTS, OUTPUTS, all_reduce, header, neff, step, twice};
use process::{assert_clean, library, on};

fn open() -> Arc<Runtime> {
    Runtime::open(Some(&library())).expect("the emulator")
}

fn floats(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|float| float.to_le_bytes()).collect()
}

fn read(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.bytes()];
    tensor.read(0, &mut bytes).expect("it is there");
    bytes
}

/// A model's sets, with tensors for all of it.
struct Ready {
    inputs: TensorSet,
    outputs: TensorSet,
    tensors: BTreeMap<String, Rc<Tensor>>,
}

impl Ready {
    /// The step on a core; outputs that lie in inputs are the inputs' tensors.
    fn new(runtime: &Arc<Runtime>, core: u32) -> Self {
        let model = Model::load(runtime, "step.neff", &neff(&header(), step()), core);
        let model = model.expect("a model");
        let mut inputs = TensorSet::inputs(&model).expect("a set");
        let mut outputs = TensorSet::outputs(&model).expect("a set");
        let mut tensors = BTreeMap::new();
        for (name, bytes) in INPUTS {
            let tensor = Tensor::new(runtime, Some(core), bytes, name).expect("room");
            tensor.write(0, &vec![0; bytes]).expect("it has room");
            inputs.insert(name, &tensor).expect("it fits");
            tensors.insert(name.to_owned(), tensor);
        }
        for (name, bytes) in OUTPUTS {
            if !tensors.contains_key(name) {
                let tensor = Tensor::new(runtime, Some(core), bytes, name).expect("room");
                tensors.insert(name.to_owned(), tensor);
            }
            outputs.insert(name, &tensors[name]).expect("it fits");
        }
        tensors["x"].write(0, &floats(&[1.0, 2.0, 3.0, 4.0])).expect("it has room");
        tensors["w"].write(0, &floats(&[1.0, 2.0, 4.0, 8.0])).expect("it has room");
        Self { inputs, outputs, tensors }
    }

    fn execute(&mut self) -> Result<Executed, RuntimeError> {
        execute(&self.inputs, &mut self.outputs)
    }
}

#[test]
fn a_model_is_loaded_executed_and_gone_without_a_trace() {
    let told = on("", "a_model_is_loaded_executed_and_gone_without_a_trace", || {
        let runtime = open();
        assert!(runtime.is_emulated(), "{}", runtime.detail());
        assert_eq!((runtime.version(), runtime.cores()), ([2, 35], 2));
        let mut ready = Ready::new(&runtime, 1);
        for sum in [1.0, 2.0] {
            assert_eq!(ready.execute().expect("it runs"), Executed::Whole);
            assert_eq!(read(&ready.tensors["y"]), floats(&[1.0, 1.0, 0.75, 0.5]));
            assert_eq!(read(&ready.tensors["sum"])[..4], floats(&[sum]));
        }
        let (used, limit) = runtime.memory(1).expect("core 1").expect("the emulator tells");
        assert!(used > 100 && limit == 16 << 30, "{used} of {limit}");
        assert_eq!(runtime.memory(0).expect("core 0"), Some((0, limit)));
        let unknown = runtime.memory(2).expect_err("there are two");
        assert_eq!(unknown.class(), Class::Capacity);
    });
    assert_clean(told);
}

#[test]
fn whatever_goes_first_the_order_is_kept() {
    let told = on("", "whatever_goes_first_the_order_is_kept", || {
        let runtime = open();
        let model = Model::load(&runtime, "twice", &neff(&header(), twice()), 0).expect("a model");
        let tensor = Tensor::new(&runtime, Some(0), 8, "both").expect("room");
        // The runtime is not closed while anything is left of it.
        drop(runtime);
        let [x, y] = [0, 4].map(|offset| tensor.slice(offset, 4).expect("a part"));
        drop(tensor);
        let mut inputs = TensorSet::inputs(&model).expect("a set");
        let mut outputs = TensorSet::outputs(&model).expect("a set");
        drop(model);
        inputs.insert("x", &x).expect("it fits");
        outputs.insert("y", &y).expect("it fits");
        x.write(0, &floats(&[21.0])).expect("it has room");
        drop(x);
        assert_eq!(execute(&inputs, &mut outputs).expect("it runs"), Executed::Whole);
        drop(inputs);
        assert_eq!(read(&y), floats(&[42.0]));
        drop(outputs);
        drop(y);
    });
    assert_clean(told);
}

#[test]
fn a_model_tells_its_tensors() {
    let told = on("", "a_model_tells_its_tensors", || {
        let runtime = open();
        let model = Model::load(&runtime, "step", &neff(&header(), step()), 0).expect("a model");
        let names = |facts: &[gimbal_neuron::runtime::TensorFacts]| {
            facts.iter().map(|facts| (facts.name.clone(), facts.bytes)).collect::<Vec<_>>()
        };
        let expect = |list: &[(&str, usize)]| {
            list.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect::<Vec<_>>()
        };
        assert_eq!(names(model.inputs()), expect(&INPUTS));
        assert_eq!(names(model.outputs()), expect(&OUTPUTS));
        let kv = &model.inputs()[3];
        assert_eq!((kv.element, kv.shape.as_slice()), (ElementType::FLOAT32, &[3, 2][..]));
    });
    assert_clean(told);
}

#[test]
fn tensors_that_do_not_fit_are_refused_before_anything_runs() {
    let told = on("", "tensors_that_do_not_fit_are_refused_before_anything_runs", || {
        let runtime = open();
        let model = Model::load(&runtime, "step", &neff(&header(), step()), 0).expect("a model");
        let mut inputs = TensorSet::inputs(&model).expect("a set");
        let mut outputs = TensorSet::outputs(&model).expect("a set");
        let [small, right] =
            [12, 16].map(|bytes| Tensor::new(&runtime, Some(0), bytes, "t").expect("room"));
        let refused = |error: RuntimeError, expect: &str| {
            assert_eq!(error.class(), Class::Request, "{error}");
            assert!(error.to_string().contains(expect), "{error}");
        };
        refused(inputs.insert("x", &small).expect_err("4 bytes less"), "it has 16 bytes");
        refused(inputs.insert("y", &right).expect_err("an output"), "the model has no such tensor");
        inputs.insert("x", &right).expect("it fits");
        assert!(inputs.tensor("x").is_some_and(|tensor| Rc::ptr_eq(tensor, &right)));
        assert_eq!(inputs.missing().collect::<Vec<_>>(), ["w", "sum", "kv", "slots", "rows"]);
        let missing = execute(&inputs, &mut outputs).expect_err("nothing is put in");
        refused(missing, "nrt_execute: step: tensor \"w\" was not put in");
    });
    if let Some(told) = &told {
        assert!(!told.stderr.contains("nrt_execute"), "it was not asked: {}", told.stderr);
    }
    assert_clean(told);
}

#[test]
fn what_the_contract_forbids_is_told_by_the_runtime() {
    let told = on("", "what_the_contract_forbids_is_told_by_the_runtime", || {
        let runtime = open();
        let mut ready = Ready::new(&runtime, 0);
        let [elsewhere, other_core] = [Some(0), Some(1)]
            .map(|core| Tensor::new(&runtime, core, 16, "elsewhere").expect("room"));
        ready.outputs.insert("sum", &elsewhere).expect("the size fits");
        let error = ready.execute().expect_err("an alias elsewhere");
        assert_eq!(error.class(), Class::Request, "{error}");
        let sum = ready.tensors["sum"].clone();
        ready.outputs.insert("sum", &sum).expect("it fits");
        ready.tensors["w"].write(0, &floats(&[0.0; 4])).expect("it has room");
        ready.tensors["x"].write(0, &floats(&[0.0; 4])).expect("it has room");
        assert_eq!(ready.execute().expect("it ran"), Executed::NotNumbers);
        let error = other_core.copy_from(0, &elsewhere, 0, 4).expect_err("another core's");
        assert_eq!(error.class(), Class::Deployment, "{error}");
        elsewhere.copy_from(4, &ready.tensors["x"], 0, 8).expect("the same core's");
        assert_eq!(read(&elsewhere)[4..12], [0; 8]);
        let error = elsewhere.write(9, &[0; 8]).expect_err("beyond its end");
        let expect =
            "nrt_tensor_write: 8 bytes from 9 on of tensor \"elsewhere\" (16 bytes on core 0)";
        assert!(error.to_string().starts_with(expect), "{error}");
    });
    assert_clean(told);
}

/// What a scripted status of a call comes to.
fn fault(call: &str, status: i32) -> RuntimeError {
    let runtime = match Runtime::open(Some(&library())) {
        Err(error) => return error,
        Ok(runtime) => runtime,
    };
    let neff = neff(&header(), twice());
    let run = || -> Result<(), RuntimeError> {
        let model = Model::load(&runtime, "twice.neff", &neff, 0)?;
        let mut inputs = TensorSet::inputs(&model)?;
        let mut outputs = TensorSet::outputs(&model)?;
        let whole = Tensor::new(&runtime, Some(0), 8, "whole")?;
        let [x, y] = [whole.slice(0, 4)?, whole.slice(4, 4)?];
        inputs.insert("x", &x)?;
        outputs.insert("y", &y)?;
        x.write(0, &floats(&[1.0]))?;
        let _: Executed = execute(&inputs, &mut outputs)?;
        y.read(0, &mut [0; 4])
    };
    run().expect_err(&format!("{call} answers {status}"))
}

#[test]
fn each_fault_has_the_class_by_which_a_caller_goes_on() {
    let cases = [
        ("nrt_init", 2, Class::Deployment, "neuron-ls tells"),
        ("nrt_init", 1, Class::Unknown, "other processes may have its cores"),
        ("nrt_init", 9, Class::Capacity, "NEURON_RT_VISIBLE_CORES"),
        ("nrt_load", 2, Class::Deployment, "twice.neff on core 0"),
        ("nrt_load", 4, Class::Capacity, "use more ranks"),
        ("nrt_load", 9, Class::Capacity, "other processes have cores"),
        ("nrt_load", 10, Class::Deployment, "the installed Neuron SDK"),
        ("nrt_load", 11, Class::Capacity, "NRT_FAIL_HOST_MEM_ALLOC"),
        ("nrt_get_model_tensor_info", 1, Class::Unknown, "twice.neff"),
        ("nrt_allocate_tensor_set", 4, Class::Capacity, "twice.neff"),
        ("nrt_tensor_allocate", 4, Class::Capacity, "tensor \"whole\" of 8 bytes on core 0"),
        ("nrt_tensor_allocate_slice", 2, Class::Deployment, "4 bytes from 0 on of tensor"),
        ("nrt_add_tensor_to_tensor_set", 3, Class::Misuse, "input \"x\" of twice.neff"),
        ("nrt_tensor_write", 5, Class::Retryable, "4 bytes from 0 on of tensor"),
        ("nrt_tensor_read", 1203, Class::Poisoned, "the process must end"),
        ("nrt_execute", 5, Class::Retryable, "twice.neff on core 0: NRT_TIMEOUT (5)"),
        ("nrt_execute", 7, Class::Retryable, "NRT_QUEUE_FULL"),
        ("nrt_execute", 1005, Class::Retryable, "NRT_EXEC_NC_BUSY"),
        ("nrt_execute", 1002, Class::Request, "NRT_EXEC_BAD_INPUT"),
        ("nrt_execute", 1006, Class::Request, "NRT_EXEC_OOB"),
        ("nrt_execute", 101, Class::Poisoned, "the process must end"),
        ("nrt_execute", 1004, Class::Poisoned, "the process must end"),
        ("nrt_execute", 1200, Class::Poisoned, "the process must end"),
        ("nrt_execute", 1201, Class::Poisoned, "NRT_EXEC_HW_ERR_HBM_UE"),
        ("nrt_execute", 1202, Class::Poisoned, "NRT_EXEC_HW_ERR_NC_UE"),
        ("nrt_execute", 1203, Class::Poisoned, "NRT_EXEC_HW_ERR_DMA_ABORT"),
        ("nrt_execute", 1204, Class::Poisoned, "NRT_EXEC_SW_NQ_OVERFLOW"),
        ("nrt_execute", 1205, Class::Poisoned, "NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE"),
        ("nrt_execute", 13, Class::Misuse, "NRT_UNINITIALIZED"),
        ("nrt_execute", 4711, Class::Unknown, "status 4711 of libnrt"),
    ];
    for (i, (call, status, class, words)) in cases.into_iter().enumerate() {
        let script =
            format!("# {i}\nfail = [{{ call = \"{call}\", nth = 1, status = {status} }}]\n");
        // A function without surroundings: the process finds its row by the script.
        let told = on(&script, "each_fault_has_the_class_by_which_a_caller_goes_on", || {
            let path = std::env::var("GIMBAL_TEST_NRT").expect("a script");
            let script = std::fs::read_to_string(path).expect("it is there");
            let word = |after: &str| {
                let rest = script.split_once(after).expect("it says so").1;
                rest.split(['"', ' ']).next().expect("a word").to_owned()
            };
            let (call, status) = (word("call = \""), word("status = "));
            let error = fault(&call, status.parse().expect("a number"));
            eprintln!("FAULT {:?}: {error}", error.class());
        });
        let Some(told) = told else { continue };
        let line = told.stderr.lines().find_map(|line| line.strip_prefix("FAULT "));
        let line = line.unwrap_or_else(|| panic!("{}", told.stderr));
        assert!(line.starts_with(&format!("{class:?}: {call}: ")), "{call} {status}: {line}");
        assert!(line.contains(words), "{call} {status}: {line}");
        if call != "nrt_init" {
            let is_clean = told.report.starts_with("closed: 0 leaks, 0 misuses\n");
            assert!(is_clean, "{call} {status}: {}", told.report);
        }
    }
}

#[test]
fn ranks_are_threads_with_models_of_their_own() {
    let told = on("", "ranks_are_threads_with_models_of_their_own", || {
        let runtime = open();
        let neff = neff(&header(), all_reduce(2));
        std::thread::scope(|scope| {
            for rank in [0_u32, 1] {
                let (runtime, neff) = (&runtime, &neff);
                scope.spawn(move || {
                    let model = Model::load_rank(runtime, "all.neff", neff, rank, [rank, 2]);
                    let model = model.expect("a model");
                    let mut inputs = TensorSet::inputs(&model).expect("a set");
                    let mut outputs = TensorSet::outputs(&model).expect("a set");
                    let [x, y] = ["x", "y"]
                        .map(|name| Tensor::new(runtime, Some(rank), 4, name).expect("room"));
                    inputs.insert("x", &x).expect("it fits");
                    outputs.insert("y", &y).expect("it fits");
                    x.write(0, &floats(&[[1.0, 10.0][rank as usize]])).expect("it has room");
                    let executed = execute(&inputs, &mut outputs).expect("it runs");
                    assert_eq!(executed, Executed::Whole);
                    assert_eq!(read(&y), floats(&[11.0]));
                });
            }
        });
    });
    assert_clean(told);
}

#[test]
fn a_core_that_is_lost_takes_no_other_with_it() {
    let script = "fail = [{ call = \"nrt_execute\", nth = 1, status = 1201 }]";
    let told = on(script, "a_core_that_is_lost_takes_no_other_with_it", || {
        let runtime = open();
        let [mut lost, mut other] = [0, 1].map(|core| Ready::new(&runtime, core));
        assert_eq!(lost.execute().expect_err("by script").class(), Class::Poisoned);
        assert_eq!(other.execute().expect("its core is another"), Executed::Whole);
        let again = lost.execute().expect_err("it stays lost");
        assert_eq!(again.class(), Class::Poisoned);
        let RuntimeError::Call { status, .. } = again else { panic!("{again}") };
        assert_eq!(status, Status::EXEC_UNIT_UNRECOVERABLE);
    });
    assert_clean(told);
}

#[test]
fn what_is_no_library_is_an_error_of_deployment() {
    let error =
        Runtime::open(Some(Path::new("/nowhere/libnrt.so.1"))).expect_err("it is not there");
    assert_eq!(error.class(), Class::Deployment);
    assert!(error.to_string().starts_with("/nowhere/libnrt.so.1: "), "{error}");
    let absent = on("absent = true", "what_is_no_library_is_an_error_of_deployment", || {
        let error = Runtime::open(Some(&library())).expect_err("there is no device");
        assert_eq!(error.class(), Class::Deployment);
        assert!(error.to_string().contains("no device that the driver gives"), "{error}");
    });
    if let Some(told) = absent {
        assert_eq!(told.report, "", "what was not opened is not closed");
    }
}
