//! A scheduler and a simulated device that are driven by hand: for tests of single rules.
//!
//! Next: `tests/rules.rs`.

use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{
    Adapter, AdapterSlot, Batch, Kv, Limits, Prefill, Sampling, Shape, StepId, TokenId,
};
use gimbal_hal::Backend;
use gimbal_scheduler::{
    AdapterRefusal, Event, Finish, Micros, Policy, Refusal, Request, RequestId, Scheduler, Span,
};
use gimbal_sim::{Config, Cost, Incident, Reads, Script, SimBackend, Time};

/// Tokens the device knows: so many that no output repeats by chance.
pub const VOCAB: u32 = 1 << 20;

/// A paged device: 64 blocks of 4 tokens, 8 slots, 32 rows, one step in flight.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        kv: Kv { blocks: 64, block_tokens: 4 },
        shape: Shape::Varlen { rows_max: 32 },
        prefill: Prefill::Chunked,
        sequences_max: 8,
        context_tokens_max: 128,
        vocab: VOCAB,
        adapters_max: 2,
        inject_width: 3,
        depth: 1,
        sampling: Sampling::HOST,
        batch_invariant: true,
    }
}

/// Everything the device allows, a queue of 100, no cache and no guesses.
#[must_use]
pub fn policy() -> Policy {
    Policy {
        max_rolling_batch_size: 8,
        job_queue_size: 100,
        step_tokens_max: 1000,
        step_time_max: None,
        prefix_cache: false,
        drafts_max: 0,
        turn_tokens: 128,
        prefix_secret: [1, 2],
    }
}

/// Tokens by their numbers.
pub fn ids(numbers: impl IntoIterator<Item = u32>) -> Arc<[TokenId]> {
    numbers.into_iter().map(TokenId::new).collect()
}

/// A greedy request whose prompt is `prompt_tokens` tokens that no other id has.
#[must_use]
pub fn request(id: u64, prompt_tokens: u32, max_new_tokens: u32) -> Request {
    let first = u32::try_from(id).expect("a small id") * 1000;
    Request::new(RequestId(id), ids(first..first + prompt_tokens), max_new_tokens)
}

/// An image of `rows` tokens from `start` on, whose numbers say what it is, which row of it, and of
/// how many.
#[must_use]
pub fn image(start: u32, rows: u16, digest: u8) -> Span {
    let row = |at: u16| Arc::from([f32::from(digest), f32::from(at), f32::from(rows)]);
    Span { start, digest: digest.into(), rows: (0..rows).map(row).collect() }
}

/// A scheduler, its device, and everything it said.
#[derive(Debug)]
pub struct Desk {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The newest batch.
    pub batch: Batch,
    /// Everything that was said.
    pub events: Vec<Event>,
    /// The time; only tests move it.
    pub now: Micros,
    device: SimBackend,
    config: Config,
}

impl Desk {
    /// A desk with an idle scheduler.
    #[must_use]
    pub fn new(limits: Limits, policy: Policy) -> Self {
        Self::with_incidents(limits, policy, &[])
    }

    /// A desk with bad luck.
    #[must_use]
    pub fn with_incidents(limits: Limits, policy: Policy, incidents: &[(u64, Incident)]) -> Self {
        let script = Script::new(incidents);
        let (cost, time, reads) = (Cost::NONE, Time::Virtual, Reads::All);
        let config = Config { vocab: limits.vocab, cost, time, reads, script };
        Self {
            scheduler: Scheduler::new(limits.clone(), policy),
            batch: Batch::default(),
            events: Vec::new(),
            now: Micros(0),
            device: SimBackend::new(limits, config.clone()),
            config,
        }
    }

    /// Admits a request.
    ///
    /// # Errors
    /// The scheduler's refusal.
    pub fn admit(&mut self, request: Request) -> Result<(), Refusal> {
        self.scheduler.admit(request, self.now)
    }

    /// Loads weights of that generation into an adapter's slot.
    ///
    /// # Errors
    /// The scheduler's refusal.
    pub fn load(&mut self, slot: u16, generation: u64) -> Result<(), AdapterRefusal> {
        let adapter = Adapter { generation, path: format!("adapter-{generation}").into() };
        self.scheduler.load_adapter(AdapterSlot(slot), Some(Arc::new(adapter)))
    }

    /// True if a request was seated and waits again.
    #[must_use]
    pub fn waits(&self, id: u64) -> bool {
        let all = self.scheduler.waiting();
        all.into_iter().any(|waiting| waiting == RequestId(id))
    }

    /// Schedules and submits one step.
    pub fn submit(&mut self) -> Option<StepId> {
        let step = self.scheduler.schedule(self.now, &mut self.batch)?;
        self.device.submit(step, &self.batch).expect("a desk's device is only lost when told");
        Some(step)
    }

    /// Collects and commits the oldest step; a lost device is opened again.
    pub fn collect(&mut self) {
        match self.device.collect(Duration::ZERO) {
            Ok((step, outcome)) => {
                self.scheduler.commit(step, outcome, self.now, &mut self.events);
            }
            Err(_) => {
                let limits = self.device.limits().clone();
                self.device = SimBackend::new(limits, self.config.clone());
                self.scheduler.lost(self.now, &mut self.events);
            }
        }
        self.scheduler.audit();
    }

    /// Collects a step of a lost device; the one that comes back has other limits.
    ///
    /// # Panics
    /// If the device is not lost.
    pub fn come_back(&mut self, limits: &Limits) {
        let collected = self.device.collect(Duration::ZERO);
        assert!(collected.is_err(), "the device is lost");
        self.device = SimBackend::new(limits.clone(), self.config.clone());
        self.scheduler.lost(self.now, &mut self.events);
        self.scheduler.relimit(limits, self.now, &mut self.events);
        self.scheduler.audit();
    }

    /// One step from schedule to commit; false when there is none to make.
    pub fn step(&mut self) -> bool {
        let made = self.submit().is_some();
        if made {
            self.collect();
        }
        made
    }

    /// Steps until nothing is left to do.
    ///
    /// # Panics
    /// If it never ends.
    pub fn finish(&mut self) {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 10_000, "a desk's requests end");
        }
        assert!(self.scheduler.is_idle(), "nothing is left");
    }

    /// Cancels a request.
    pub fn cancel(&mut self, id: u64) {
        self.scheduler.cancel(RequestId(id), &mut self.events);
    }

    /// Holds choice 0 of a request back.
    pub fn hold(&mut self, id: u64) {
        self.scheduler.hold(RequestId(id), 0);
    }

    /// Lets choice 0 of a request go on.
    pub fn free(&mut self, id: u64) {
        self.scheduler.free(RequestId(id), 0);
    }

    /// Rows of each part of the newest batch.
    #[must_use]
    pub fn rows(&self) -> Vec<u32> {
        self.batch.parts.iter().map(|part| part.rows).collect()
    }

    /// Requests in the order in which they started.
    #[must_use]
    pub fn started(&self) -> Vec<u64> {
        let started = self.events.iter().filter_map(|event| match event {
            Event::Started { id, .. } => Some(id.0),
            _ => None,
        });
        started.collect()
    }

    /// Tokens a choice was given.
    #[must_use]
    pub fn tokens(&self, id: u64, choice: u16) -> Vec<TokenId> {
        let tokens = self.events.iter().filter_map(|event| match event {
            Event::Token(t) if (t.id.0, t.choice) == (id, choice) => Some(t.token),
            _ => None,
        });
        tokens.collect()
    }

    /// The first token of each piece of scores that a request was told, and how many there are.
    #[must_use]
    pub fn scored(&self, id: u64) -> Vec<(u32, usize)> {
        let scores = self.events.iter().filter_map(|event| match event {
            Event::Scores { id: i, first, scores } if i.0 == id => Some((*first, scores.len())),
            _ => None,
        });
        scores.collect()
    }

    /// How a choice ended, if it did.
    #[must_use]
    pub fn end(&self, id: u64, choice: u16) -> Option<Finish> {
        self.events.iter().find_map(|event| match event {
            Event::Finished { id: i, choice: c, reason } if (i.0, *c) == (id, choice) => {
                Some(*reason)
            }
            _ => None,
        })
    }
}
