//! The policies that can be compared: our scheduler itself, and models of others.
//!
//! Next: `vllm.rs`.

use gimbal_batch::{Answer, Batch, Outcome, StepId, TokenId};
use gimbal_scheduler::{Event, Micros, Policy, Refusal, Request, Scheduler, Stats};

use super::device::Device;
use super::options::Options;
use super::vllm::VllmModel;

/// Which policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyName {
    /// Our scheduler.
    Gimbal,
    /// A model of vLLM's.
    VllmModel,
}

/// A policy at work: one step in flight.
pub(super) trait Planner {
    /// Takes a request.
    fn admit(&mut self, request: Request, now: Micros) -> Result<(), Refusal>;
    /// Writes the next step, of which only the shape matters; false when there is none.
    fn schedule(&mut self, now: Micros, batch: &mut Batch) -> bool;
    /// Ends the step; every output gets the token `token`.
    fn commit(&mut self, token: TokenId, now: Micros, events: &mut Vec<Event>);
    /// Counters.
    fn stats(&self) -> Stats;
}

impl PolicyName {
    /// Its name in tables.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Gimbal => "gimbal",
            Self::VllmModel => "vllm-model",
        }
    }

    /// The policy with its usual settings on this device.
    pub(super) fn planner(self, options: &Options) -> Box<dyn Planner> {
        let Options { device, limits, step_tokens, .. } = options;
        match self {
            Self::Gimbal => Box::new(Gimbal::new(device, limits.pause)),
            Self::VllmModel => Box::new(VllmModel::new(device, *step_tokens)),
        }
    }
}

struct Gimbal {
    scheduler: Scheduler,
    step: Option<(StepId, usize)>,
}

impl Gimbal {
    fn new(device: &Device, pause: Micros) -> Self {
        let mut limits = device.limits.clone();
        limits.depth = 1;
        let policy = Policy {
            max_rolling_batch_size: limits.sequences_max,
            job_queue_size: 100_000,
            step_tokens_max: 8192,
            // Nine tenths of what the user accepts: a step only aims at its time.
            step_time_max: Some(Micros(pause.0 * 9 / 10)),
            prefix_cache: true,
            drafts_max: 0,
            turn_tokens: 128,
            prefix_secret: [1, 2],
        };
        Self { scheduler: Scheduler::new(limits, policy), step: None }
    }
}

impl Planner for Gimbal {
    fn admit(&mut self, request: Request, now: Micros) -> Result<(), Refusal> {
        self.scheduler.admit(request, now)
    }

    fn schedule(&mut self, now: Micros, batch: &mut Batch) -> bool {
        self.step = self.scheduler.schedule(now, batch).map(|step| (step, batch.outputs.len()));
        self.step.is_some()
    }

    fn commit(&mut self, token: TokenId, now: Micros, events: &mut Vec<Event>) {
        let (step, outputs) = self.step.take().expect("a step is in flight");
        let sample = || Ok(Answer::Sample { token, logprob: 0.0, top: Vec::new() });
        let outcome: Outcome = (0..outputs).map(|_| sample()).collect();
        self.scheduler.commit(step, outcome, now, events);
    }

    fn stats(&self) -> Stats {
        self.scheduler.stats()
    }
}
