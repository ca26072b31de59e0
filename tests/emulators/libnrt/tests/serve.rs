//! A golden model, compiled by the fake neuronx-cc and run by the emulated runtime under the real scheduler: a rolling
//! batch over compiled shapes gives the reference's tokens.

#[path = "contract/process.rs"]
#[expect(dead_code, reason = "what only the emulator's own tests need")]
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use gimbal_batch::{Batch, Bucket, SampleParams, TokenId};
use gimbal_hal::{Backend, DeviceError};
use gimbal_model::Model;
use gimbal_model::interp::{Interp, Run};
use gimbal_neuron::NeuronBackend;
use gimbal_neuron::bundle::Bundle;
use gimbal_neuron::compile::{NeuronxCc, Plan, compile};
use gimbal_neuron::probe::Chip;
use gimbal_neuron::runtime::Runtime;
use gimbal_scheduler::{Event, Micros, Policy, Request, RequestId, Scheduler};
use process::{assert_clean, library, on};

/// Tokens of an answer.
const TOKENS: u32 = 16;
/// A choice that lies so near to the best, as a share of the largest logit, may be another one: what bf16 leaves.
const GAP: f32 = 2e-2;
/// How long a step may take.
const STEP_TIME: Duration = Duration::from_secs(60);

fn model() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/families");
    Model::open(&folder.join("llama-64.gguf")).expect("a golden model")
}

/// Compiles it for so many ranks.
fn bundle(name: &str, ranks: usize) -> (PathBuf, Bundle) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("serve-{name}-{}", std::process::id()));
    let compiler = Path::new(env!("CARGO_BIN_EXE_neuronx-cc"));
    let compiler = NeuronxCc::find(Some(compiler), None, Path::new("/")).expect("it was built");
    let bucket = |sequences, rows_each, context| Bucket { sequences, rows_each, context };
    // Prompts in pieces of eight; fewer blocks than all sequences want.
    let buckets = vec![bucket(1, 8, 64), bucket(1, 1, 64), bucket(4, 1, 32), bucket(4, 1, 64)];
    let plan = Plan { target: Chip::Trn1, lnc: 1, ranks, buckets, kv_blocks: 5 };
    let (cache, out) = (folder.join("cache"), folder.join("bundle"));
    let made = compile(&model(), &plan, (&compiler, 2), &cache, &out, &|_| {});
    (folder, made.expect("a bundle"))
}

/// Prompts of different lengths, one of several pieces.
fn prompts(vocab: u32) -> Vec<Vec<u32>> {
    let prompt = |(i, length): (u32, u32)| (0..length).map(|j| (17 * i + 7 * j) % vocab).collect();
    (0..).zip([3, 21, 9, 1, 14, 8]).map(prompt).collect()
}

/// Answers of all prompts at once, of a device that may fail.
fn answers(
    backend: &mut dyn Backend,
    prompts: &[Vec<u32>],
    params: &SampleParams,
    time: Duration,
) -> Result<BTreeMap<u64, Vec<u32>>, DeviceError> {
    let mut scheduler = Scheduler::new(backend.limits().clone(), policy());
    for (id, prompt) in (0..).zip(prompts) {
        let tokens = prompt.iter().copied().map(TokenId::new).collect();
        let params = Arc::new(SampleParams { seed: id, ..params.clone() });
        let request = Request { params, ..Request::new(RequestId(id), tokens, TOKENS) };
        scheduler.admit(request, Micros(0)).expect("it fits");
    }
    let (mut batch, mut events) = (Batch::default(), Vec::new());
    let mut found = BTreeMap::<u64, Vec<u32>>::new();
    while !scheduler.is_idle() {
        let step = scheduler.schedule(Micros(0), &mut batch).expect("somebody waits");
        backend.submit(step, &batch)?;
        let (step, outcome) = backend.collect(time)?;
        scheduler.commit(step, outcome, Micros(0), &mut events);
        for event in events.drain(..) {
            if let Event::Token(sample) = event {
                found.entry(sample.id.0).or_default().push(sample.token.get());
            }
        }
    }
    Ok(found)
}

fn policy() -> Policy {
    Policy {
        max_rolling_batch_size: 4,
        job_queue_size: 16,
        step_tokens_max: 64,
        step_time_max: None,
        prefix_cache: true,
        drafts_max: 0,
        turn_tokens: 0,
        prefix_secret: [1, 2],
    }
}

/// Each token was one of the best by the interpreter, given those before it.
fn check(model: &Model, prompt: &[u32], found: &[u32]) {
    let mut oracle = Interp::new(&model.graph, &model.weights);
    let mut tokens = prompt.to_vec();
    for id in found {
        let run = Run { sequence: 0, tokens: &tokens };
        let logits = oracle.forward(&[run], &[tokens.len() - 1]).remove(0);
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let largest = logits.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let gap = (most - logits[*id as usize]) / largest;
        assert!(gap <= 2.0 * GAP, "{prompt:?}: {id} is {gap} below the best of {found:?}");
        tokens = vec![*id];
    }
}

fn open(bundle: &Bundle) -> Result<NeuronBackend, DeviceError> {
    let vocab = u32::try_from(model().graph.vocab()).expect("small");
    let limits = gimbal_neuron::limits(bundle, vocab).expect("they fit");
    let runtime = Runtime::open(Some(&library())).expect("the emulator");
    NeuronBackend::open(&runtime, bundle, limits)
}

fn serves(ranks: usize) {
    let (folder, bundle) = bundle(&format!("ranks{ranks}"), ranks);
    let model = model();
    let mut backend = open(&bundle).expect("it loads");
    let prompts = prompts(backend.limits().vocab);
    let greedy = SampleParams::default();
    let mut answers = |params| answers(&mut backend, &prompts, params, STEP_TIME).expect("it runs");
    let found = answers(&greedy);
    for (id, prompt) in (0..).zip(&prompts) {
        assert_eq!(found[&id].len(), TOKENS as usize);
        check(&model, prompt, &found[&id]);
    }
    // By one number for each seed and position: the same again, and others than the best.
    let warm = SampleParams { temperature: 1.0, top_k: 40, ..greedy.clone() };
    let drawn = answers(&warm);
    assert_ne!(drawn, found);
    assert_eq!(answers(&warm), drawn);
    drop(backend);
    fs::remove_dir_all(folder).expect("ours");
}

#[test]
fn a_rolling_batch_gives_the_reference_s_tokens() {
    assert_clean(on("", "a_rolling_batch_gives_the_reference_s_tokens", || serves(1)));
}

#[test]
fn two_ranks_give_them_too() {
    assert_clean(on("", "two_ranks_give_them_too", || serves(2)));
}

/// What is told of a device that breaks while it loads or answers.
fn breaks(name: &str, time: Duration) -> DeviceError {
    let (folder, bundle) = bundle(name, 1);
    let told = open(&bundle).and_then(|mut backend| {
        let prompts = prompts(backend.limits().vocab);
        let told = answers(&mut backend, &prompts, &SampleParams::default(), time);
        // What hangs is left to the end of the process.
        std::mem::forget(backend);
        told
    });
    fs::remove_dir_all(folder).expect("ours");
    told.expect_err("it breaks")
}

#[test]
fn too_little_memory_is_told_with_the_tensor() {
    on("memory = 100000", "too_little_memory_is_told_with_the_tensor", || {
        let told = breaks("memory", STEP_TIME).to_string();
        assert!(told.contains("nrt_tensor_allocate: tensor"), "{told}");
        assert!(told.contains("free memory of the device, or use more ranks"), "{told}");
    });
}

#[test]
fn a_core_that_breaks_is_a_lost_device() {
    let script = "fail = [{ call = \"nrt_execute\", nth = 9, status = 1201 }]";
    on(script, "a_core_that_breaks_is_a_lost_device", || {
        let told = breaks("ecc", STEP_TIME);
        assert!(matches!(told, DeviceError::Lost { .. }), "{told:?}");
        let told = told.to_string();
        assert!(told.contains("the process must end before the core is used again"), "{told}");
    });
}

#[test]
fn a_step_that_never_ends_is_late_and_stops_nobody() {
    let script = "fail = [{ call = \"nrt_execute\", nth = 9, hang = \"forever\" }]";
    on(script, "a_step_that_never_ends_is_late_and_stops_nobody", || {
        let told = breaks("hang", Duration::from_millis(500));
        assert!(matches!(told, DeviceError::Timeout { .. }), "{told:?}");
    });
}

#[test]
fn a_program_that_was_changed_is_not_loaded() {
    on("", "a_program_that_was_changed_is_not_loaded", || {
        let (folder, bundle) = bundle("changed", 1);
        let file = folder.join("bundle").join(&bundle.manifest.programs[0].neff.file);
        let mut bytes = fs::read(&file).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).expect("a file");
        let told = open(&bundle).expect_err("it is refused");
        assert!(matches!(told, DeviceError::Model { .. }), "{told:?}");
        assert!(told.to_string().contains("copy the bundle again"), "{told}");
        fs::remove_dir_all(folder).expect("ours");
    });
}
