//! Who may come in: every refusal is decided here, with numbers, before anything changes.
//!
//! Next: `plan.rs`.

use std::cmp::Reverse;
use std::sync::Arc;

use gimbal_batch::SampleParams;

use crate::count;
use crate::drafts::Lookup;
use crate::key::Key;
use crate::request::{Micros, Refusal, Request};
use crate::scheduler::{Job, Scheduler};
use crate::sequence::{Domain, Rank, Sequence, State};
use crate::spans;

impl Scheduler {
    /// Puts a request into the queue.
    ///
    /// # Errors
    /// Why it is refused; nothing was changed.
    ///
    /// # Panics
    /// In debug builds, if a request of this name lives.
    pub fn admit(&mut self, request: Request, now: Micros) -> Result<(), Refusal> {
        // Reads the whole queue, so only where bugs are looked for.
        let known = |id| self.jobs.iter().any(|(_, job)| job.request.id == id);
        debug_assert!(!known(request.id), "request {} lives already", request.id.0);
        check_fields(&request)?;
        self.check_device(&request)?;
        self.check_queue()?;
        self.check_deadline(&request, now)?;
        if let Some(at) = request.deadline {
            self.earliest_deadline = Some(self.earliest_deadline.map_or(at, |e| e.min(at)));
        }
        let job = self.new_job(request, now);
        let job = self.jobs.insert(job);
        self.queued += 1;
        self.spawn(job, 0);
        Ok(())
    }

    /// Refuses what the device could not compute if it had nothing else to do.
    pub(crate) fn check_device(&self, request: &Request) -> Result<(), Refusal> {
        if self.adapters.generation(request.adapter).is_none() {
            return Err(Refusal::Invalid { what: "the adapter must be loaded" });
        }
        let mut named = request.tokens.iter().chain(&*request.params.logprob_ids);
        if named.any(|token| token.get() >= self.limits.vocab) {
            // A tokenizer may know more tokens than the model has rows for.
            return Err(Refusal::Invalid { what: "a token is not one of the model's vocabulary" });
        }
        let accepted = self.limits.accepts(&request.params, request.masked);
        accepted.map_err(Refusal::Unsupported)?;
        if let Some(scores) = request.scores {
            self.limits.accepts_scores(scores.top).map_err(Refusal::Unsupported)?;
        }
        self.check_length(request)?;
        let rows_max = |end| self.frame.span_rows_max(&self.limits, end);
        spans::check(&request.spans, request.tokens.len(), &self.limits, rows_max)
    }

    fn check_length(&self, request: &Request) -> Result<(), Refusal> {
        let model_len_max = self.frame.model_len_max;
        let prompt = u64::try_from(request.tokens.len()).unwrap_or(u64::MAX);
        if prompt.saturating_add(u64::from(request.max_new_tokens)) <= u64::from(model_len_max) {
            return Ok(());
        }
        Err(Refusal::TooLong {
            prompt_tokens: u32::try_from(request.tokens.len()).unwrap_or(u32::MAX),
            max_new_tokens: request.max_new_tokens,
            max_model_len: model_len_max,
        })
    }

    /// Requests that find a free place in the rolling batch do not count as waiting.
    fn check_queue(&self) -> Result<(), Refusal> {
        let queue_len = self.queued;
        let places = self.frame.rolling_max.saturating_sub(self.claimed);
        let job_queue_size = self.policy.job_queue_size;
        if queue_len < job_queue_size.saturating_add(places) {
            return Ok(());
        }
        Err(Refusal::QueueFull { queue_len, job_queue_size })
    }

    /// Refuses what would not even have its first token in time, as fast as things go now.
    fn check_deadline(&self, request: &Request, now: Micros) -> Result<(), Refusal> {
        let Some(deadline) = request.deadline else { return Ok(()) };
        let expected = self.first_token(request, now);
        if now < deadline && expected <= deadline {
            return Ok(());
        }
        Err(Refusal::Deadline { expected })
    }

    /// When a request would have its first token: after all rows before its own, and once a seat
    /// is free.
    fn first_token(&self, request: &Request, now: Micros) -> Micros {
        let rank = (Reverse(request.priority), self.next_arrival);
        let (mut rows, mut queue) = (u64::from(count(request.tokens.len())), 0);
        for (_, sequence) in self.sequences.iter() {
            let waits = sequence.state == State::Waiting;
            if (sequence.rank.priority, sequence.rank.arrival) < rank
                && (waits || matches!(sequence.state, State::Running(_)))
            {
                rows += u64::from(sequence.pending());
                queue += u32::from(waits);
            }
        }
        let step_rows = self.frame.rows.min(self.policy.step_tokens_max).max(1);
        let computed = self.pace.after(now, rows.div_ceil(u64::from(step_rows)));
        let seats = self.frame.rolling_max - count(self.running.len());
        let seats_short = (queue + 1).saturating_sub(seats);
        computed.max(self.pace.seated(now, u64::from(seats_short)))
    }

    fn new_job(&mut self, request: Request, now: Micros) -> Job {
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        let shares = self.shares(&request);
        let lonely = if self.policy.prefix_cache { 0 } else { arrival + 1 };
        let secret = self.policy.prefix_secret;
        let adapter = self.adapters.generation(request.adapter);
        let adapter = adapter.expect("an admitted request's adapter is loaded");
        let root = Key::root(secret, request.salt, adapter, lonely);
        let block_tokens = self.limits.kv.block_tokens;
        Job {
            arrival,
            admitted: now,
            started: false,
            spawned: 0,
            unfinished: request.choices,
            losses: 0,
            preemptions: 0,
            domain: Domain { secret, root, block_tokens },
            shares,
            request,
        }
    }

    /// Without a prefix cache the choices of one request still share: a domain of their own.
    pub(crate) fn shares(&self, request: &Request) -> bool {
        (self.policy.prefix_cache || request.choices > 1) && !self.frame.whole
    }

    /// Makes the next choice of a request a sequence of its own.
    pub(crate) fn spawn(&mut self, job_key: usize, choice: u16) {
        let job = &mut self.jobs[job_key];
        assert_eq!(job.spawned, choice, "choices are spawned in order");
        job.spawned += 1;
        let request = &job.request;
        let seed = request.params.seed.wrapping_add(u64::from(choice));
        let params = match choice {
            0 => Arc::clone(&request.params),
            _ => Arc::new(SampleParams { seed, ..(*request.params).clone() }),
        };
        // Wrong guesses would leave a trace: penalties read a history that they would enter.
        let able = self.limits.sampling.drafts && self.policy.drafts_max > 0;
        let drafts = able && !self.frame.turns && !params.has_penalties();
        let length = count(request.tokens.len()) + request.max_new_tokens;
        let sequence = Sequence {
            id: request.id,
            choice,
            rank: Rank { priority: Reverse(request.priority), arrival: job.arrival, choice },
            job: job_key,
            prompt: Arc::clone(&request.tokens),
            spans: Arc::clone(&request.spans),
            output: Vec::new(),
            output_max: request.max_new_tokens,
            params,
            scores: request.scores.filter(|_| choice == 0),
            scored: request.scores.map_or(0, |scores| scores.from),
            client: request.client,
            adapter: request.adapter,
            masked: request.masked,
            serial: request.masked,
            state: State::Waiting,
            opened: false,
            cached: 0,
            promised: 0,
            in_flight: 0,
            rows: 0,
            drafts: Vec::with_capacity(if drafts { self.policy.drafts_max as usize } else { 0 }),
            lookup: drafts.then(|| Lookup::new(length)),
            table: Vec::new(),
            keys: Vec::new(),
            published: 0,
            served: 0,
            seated: 0,
            held: false,
            gives_way: false,
        };
        let key = self.sequences.insert(sequence);
        self.enqueue(key);
    }
}

fn check_fields(request: &Request) -> Result<(), Refusal> {
    let invalid = |what| Err(Refusal::Invalid { what });
    if request.tokens.is_empty() {
        return invalid("the prompt must have at least one token");
    }
    if request.max_new_tokens == 0 {
        return invalid("max_new_tokens must be at least 1");
    }
    if request.choices == 0 {
        return invalid("n must be at least 1");
    }
    Ok(())
}
