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

use gimbal_batch::{AdapterSlot, Batch, Bucket, SampleParams, TokenId};
use gimbal_hal::{Backend, DeviceError};
use gimbal_model::Model;
use gimbal_model::interp::{Interp, Run};
use gimbal_neuron::NeuronBackend;
use gimbal_neuron::bundle::Bundle;
use gimbal_neuron::compile::{NeuronxCc, Plan, compile};
use gimbal_neuron::probe::Chip;
use gimbal_neuron::runtime::Runtime;
use gimbal_scheduler::{Client, Event, Micros, Policy, Priority, Request, RequestId, Scheduler};
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
) -> Result<BTreeMap<u64, Vec<u32>>, DeviceError> {
    let mut scheduler = Scheduler::new(backend.limits().clone(), policy());
    for (id, prompt) in (0..).zip(prompts) {
        let tokens = prompt.iter().copied().map(TokenId::new).collect();
        scheduler.admit(request(id, tokens, params), Micros(0)).expect("it fits");
    }
    let (mut batch, mut events) = (Batch::default(), Vec::new());
    let mut found = BTreeMap::<u64, Vec<u32>>::new();
    while !scheduler.is_idle() {
        let step = scheduler.schedule(Micros(0), &mut batch).expect("somebody waits");
        backend.submit(step, &batch)?;
        let (step, outcome) = backend.collect(STEP_TIME)?;
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

fn request(id: u64, tokens: Arc<[TokenId]>, params: &SampleParams) -> Request {
    Request {
        id: RequestId(id),
        tokens,
        spans: Arc::default(),
        max_new_tokens: TOKENS,
        stop_tokens: Arc::default(),
        scores: None,
        params: Arc::new(SampleParams { seed: id, ..params.clone() }),
        choices: 1,
        adapter: AdapterSlot(0),
        salt: 0,
        priority: Priority::default(),
        client: Client::default(),
        deadline: None,
        masked: false,
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

fn serves(ranks: usize) {
    let (folder, bundle) = bundle(&format!("ranks{ranks}"), ranks);
    let model = model();
    let vocab = u32::try_from(model.graph.vocab()).expect("small");
    let limits = gimbal_neuron::limits(&bundle, vocab).expect("they fit");
    let runtime = Runtime::open(Some(&library())).expect("the emulator");
    let mut backend = NeuronBackend::open(&runtime, &bundle, limits).expect("it loads");
    let prompts = prompts(vocab);
    let greedy = SampleParams::default();
    let found = answers(&mut backend, &prompts, &greedy).expect("it runs");
    for (id, prompt) in (0..).zip(&prompts) {
        assert_eq!(found[&id].len(), TOKENS as usize);
        check(&model, prompt, &found[&id]);
    }
    // By one number for each seed and position: the same again, and others than the best.
    let warm = SampleParams { temperature: 1.0, top_k: 40, ..greedy };
    let drawn = answers(&mut backend, &prompts, &warm).expect("it runs");
    assert_ne!(drawn, found);
    assert_eq!(answers(&mut backend, &prompts, &warm).expect("it runs"), drawn);
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
