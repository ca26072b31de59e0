//! A service on the simulated device, and a device whose steps wait for the test.
//!
//! No test of any promise stands here. Next: `promises.rs`.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimbal_batch::{Batch, Kv, Limits, Outcome, Prefill, Sampling, Shape, StepId};
use gimbal_engine::*;
use gimbal_hal::{Backend, DeviceError};
use gimbal_sim::{Config, Cost, Reads, Script, SimBackend, Time};
use gimbal_text::{ChatTemplate, Tokenizer, TokenizerData};

/// Writes each message's content and nothing else.
pub(crate) const TEMPLATE: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";

pub(crate) fn limits(depth: u32) -> Limits {
    Limits {
        kv: Kv { blocks: 256, block_tokens: 4 },
        shape: Shape::Varlen { rows_max: 64 },
        prefill: Prefill::Chunked,
        sequences_max: 8,
        context_tokens_max: 128,
        vocab: 256,
        adapters_max: 0,
        inject_width: 0,
        depth,
        sampling: Sampling::HOST,
        batch_invariant: true,
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        max_rolling_batch_size: 4,
        job_queue_size: 28,
        step_tokens_max: 64,
        step_time_max: None,
        prefix_cache: true,
        drafts_max: 0,
        turn_tokens: 128,
        prefix_secret: [1, 2],
    }
}

pub(crate) fn sim(depth: u32, script: &Script) -> Box<dyn Backend> {
    let config = Config {
        vocab: 256,
        cost: Cost::NONE,
        time: Time::Virtual,
        reads: Reads::All,
        script: script.clone(),
    };
    Box::new(SimBackend::new(limits(depth), config))
}

/// A lane on the simulated device, whose script goes on when it is opened again.
pub(crate) fn sim_lane(depth: u32, script: &Script) -> LaneSource {
    let again = script.clone();
    LaneSource { backend: sim(depth, script), reopen: Box::new(move || Ok(sim(depth, &again))) }
}

pub(crate) fn service(policy: Policy, lane: LaneSource) -> Arc<Service> {
    named_service("sim", policy, lane)
}

pub(crate) fn named_service(name: &str, policy: Policy, lane: LaneSource) -> Arc<Service> {
    let tokenizer = Tokenizer::new(&TokenizerData::byte_level()).expect("own data");
    let template = ChatTemplate::new(TEMPLATE, String::new(), String::new()).expect("a template");
    let config = ServiceConfig::new(name, Arc::new(tokenizer), policy, vec![lane]);
    Service::start(ServiceConfig { template: Some(Arc::new(template)), ..config })
        .expect("a thread")
}

pub(crate) fn request(prompt: &str, max_new_tokens: u32) -> GenerateRequest {
    let prompt = Prompt::Text(prompt.into());
    GenerateRequest { max_new_tokens: Some(max_new_tokens), ..GenerateRequest::new(prompt) }
}

/// Waits until it is so.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it comes to be so");
}

/// What one request gets: its tokens and its end.
pub(crate) async fn answer(
    service: &Service,
    request: GenerateRequest,
) -> (Vec<u32>, FinishReason) {
    let generation = service.generate(request).await.expect("an admitted request");
    let (mut choices, _) = generation.complete().await;
    let first = choices.remove(0);
    (first.tokens.iter().map(|(token, _)| token.id).collect(), first.finish)
}

/// The simulated device, whose steps are finished only when the test says so.
pub(crate) struct Held {
    inner: Box<dyn Backend>,
    steps: Arc<Mutex<Receiver<()>>>,
}

/// A device whose steps finish one for each message; without its sender all do.
pub(crate) fn held(inner: Box<dyn Backend>) -> (Box<dyn Backend>, SyncSender<()>) {
    let (sender, steps) = sync_channel(1024);
    (Box::new(Held { inner, steps: Arc::new(Mutex::new(steps)) }), sender)
}

/// A lane on a held device. Each message lets one step finish; without its sender all do.
pub(crate) fn held_lane() -> (LaneSource, SyncSender<()>) {
    let (sender, steps) = sync_channel(1024);
    let steps = Arc::new(Mutex::new(steps));
    let again = Arc::clone(&steps);
    let script = Script::default();
    let held = Held { inner: sim(1, &script), steps };
    let reopen = move || -> Result<Box<dyn Backend>, DeviceError> {
        Ok(Box::new(Held { inner: sim(1, &script), steps: Arc::clone(&again) }))
    };
    (LaneSource { backend: Box::new(held), reopen: Box::new(reopen) }, sender)
}

impl Backend for Held {
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        self.inner.submit(step, batch)
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        let may = self.steps.lock().expect("no test panics in here").recv_timeout(timeout);
        if may == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            return Err(DeviceError::Timeout { step: StepId(0), waited: timeout });
        }
        self.inner.collect(timeout)
    }
}
