//! The host's share of a decode step on a GPU: the scheduler's plan, and what `submit` does until the driver has
//! all. The emulated driver computes only when it is waited for, so that its kernels are in no figure; what it
//! takes to write a call down is, where a real one has a queue of its own.
//!
//! `cargo run --profile ci -p gimbal-conformance --example host_share MODEL LIBCUDA [SEQUENCES] [STEPS]`.
//! Next: `../src/rig.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use gimbal_batch::{Batch, SampleParams, TokenId};
use gimbal_conformance::rig::Rig;
use gimbal_cuda::CudaPlatform;
use gimbal_hal::{Backend, KvDtype};
use gimbal_scheduler::{Event, Micros, Policy, Request, RequestId, Scheduler};

/// Tokens of a prompt.
const PROMPT: u32 = 8;

#[expect(clippy::print_stdout, reason = "the program's result")]
fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let model = arguments.first().context("the model's path")?;
    let library = arguments.get(1).map(PathBuf::from).context("the driver's path")?;
    let number = |at: usize, default: u32| arguments.get(at).map_or(Ok(default), |n| n.parse());
    let (sequences, steps) = (number(2, 32)?, number(3, 40)?);
    let platform = CudaPlatform { library: Some(library) };
    let greedy = SampleParams::default();
    let warm = SampleParams { temperature: 0.8, top_p: 0.9, ..greedy.clone() };
    let held = SampleParams { repetition_penalty: 1.1, frequency_penalty: 0.2, ..warm.clone() };
    for (name, params) in [("greedy", greedy), ("top-p", warm), ("penalties", held)] {
        let mut backend = Rig::open_on(&platform, Path::new(model), KvDtype::F16)?.into_backend();
        let mut taken = run(&mut *backend, &params, sequences, steps)?;
        ensure!(!taken.is_empty(), "no step of {sequences} rows");
        let [planned, queued] = [0, 1].map(|part| {
            taken.sort_unstable_by_key(|both| both[part]);
            taken[taken.len() / 2][part]
        });
        println!(
            "{name}: {sequences} sequences, {} steps: {} us to plan, {} us to submit (medians)",
            taken.len(),
            planned.as_micros(),
            queued.as_micros()
        );
    }
    Ok(())
}

/// What planning and submitting took, of steps that have one row of each sequence.
fn run(
    backend: &mut dyn Backend,
    params: &SampleParams,
    sequences: u32,
    steps: u32,
) -> anyhow::Result<Vec<[Duration; 2]>> {
    let limits = backend.limits().clone();
    let mut scheduler = Scheduler::new(limits.clone(), policy(sequences));
    for id in 0..sequences {
        let tokens = (0..PROMPT).map(|i| TokenId::new(100 * id + i)).collect();
        let id = u64::from(id);
        let params = Arc::new(SampleParams { seed: id, ..params.clone() });
        let request = Request { params, ..Request::new(RequestId(id), tokens, steps) };
        let admitted = scheduler.admit(request, Micros(0));
        ensure!(admitted.is_ok(), "{admitted:?}");
    }
    let (mut batch, mut events, mut taken) = (Batch::default(), Vec::<Event>::new(), Vec::new());
    let (begun, mut queued) = (Instant::now(), 0);
    let now = || Micros(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    while !scheduler.is_idle() {
        while queued < limits.depth {
            let start = Instant::now();
            let Some(step) = scheduler.schedule(now(), &mut batch) else { break };
            let planned = start.elapsed();
            let start = Instant::now();
            backend.submit(step, &batch)?;
            if batch.tokens.len() == sequences as usize {
                taken.push([planned, start.elapsed()]);
            }
            queued += 1;
        }
        let (step, outcome) = backend.collect(Duration::from_secs(600))?;
        queued -= 1;
        scheduler.commit(step, outcome, now(), &mut events);
        events.clear();
    }
    Ok(taken)
}

fn policy(sequences: u32) -> Policy {
    Policy {
        max_rolling_batch_size: sequences,
        job_queue_size: sequences,
        step_tokens_max: 512,
        step_time_max: None,
        prefix_cache: false,
        drafts_max: 0,
        turn_tokens: 0,
        prefix_secret: [1, 2],
    }
}
