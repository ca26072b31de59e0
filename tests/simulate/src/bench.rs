//! A crowd in its steady state, for counting what a step costs the host.
//!
//! No device computes here: outcomes are made up, so that only the scheduler is measured.

use gimbal_batch::{Answer, Batch, Kv, Limits, Outcome, RowFault, Shape, StepId, TokenId};
use gimbal_scheduler::{Event, Micros, Policy, Scheduler, Stats};

use crate::desk;

/// Tokens each sequence generates; more than any measurement takes.
const OUTPUT_TOKENS: u32 = 4000;

/// Sequences that decode, and decode, and decode.
#[derive(Debug)]
pub struct Crowd {
    scheduler: Scheduler,
    batch: Batch,
    events: Vec<Event>,
    token: u32,
    /// The step before, so that two are in flight when the next one is scheduled.
    flying: Option<(StepId, Outcome)>,
}

impl Crowd {
    /// A crowd whose prompts are computed. The pool holds all, so that nobody is preempted.
    ///
    /// # Panics
    /// If the crowd does not fit, which no argument can cause.
    #[must_use]
    pub fn new(sequences: u32, prefix_cache: bool) -> Self {
        let limits = Self::limits(sequences);
        let policy = Policy {
            max_rolling_batch_size: sequences,
            step_tokens_max: 8192,
            prefix_cache,
            ..desk::policy()
        };
        let mut scheduler = Scheduler::new(limits, policy);
        for id in 0..sequences {
            // Lengths differ, as they do in life: not everybody fills a block in the same step.
            let request = desk::request(u64::from(id), 100 + id % 16, OUTPUT_TOKENS);
            scheduler.admit(request, Micros(0)).expect("the pool holds all");
        }
        let (batch, events) = (Batch::default(), Vec::new());
        let mut crowd = Self { scheduler, batch, events, token: 0, flying: None };
        while crowd.scheduler.stats().decode_tokens < 2 * u64::from(sequences) {
            crowd.step(|_| {});
        }
        crowd
    }

    /// One step; `watch` is called with true before and false after each of the scheduler's verbs.
    ///
    /// # Panics
    /// If there is no step to make.
    pub fn step(&mut self, mut watch: impl FnMut(bool)) {
        watch(true);
        let step = self.scheduler.schedule(Micros(0), &mut self.batch);
        watch(false);
        let outcome: Outcome = self.batch.outputs.iter().map(|_| self.answer()).collect();
        self.token += 1;
        let step = step.expect("a crowd always has a step to make");
        if let Some((before, outcome)) = self.flying.replace((step, outcome)) {
            watch(true);
            self.scheduler.commit(before, outcome, Micros(0), &mut self.events);
            watch(false);
        }
        self.events.clear();
    }

    /// The newest step.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// What the device is told to be.
    #[must_use]
    pub fn limits(sequences: u32) -> Limits {
        Limits {
            kv: Kv { blocks: sequences * 280, block_tokens: 16 },
            shape: Shape::Varlen { rows_max: 8192 },
            sequences_max: sequences,
            context_tokens_max: 8192,
            depth: 2,
            ..desk::limits()
        }
    }

    /// What the scheduler counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.scheduler.stats()
    }

    fn answer(&self) -> Result<Answer, RowFault> {
        Ok(Answer::Sample { token: TokenId::new(self.token), logprob: 0.0, top: Vec::new() })
    }
}
