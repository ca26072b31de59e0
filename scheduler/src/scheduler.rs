//! The scheduler's state, and how sequences leave it.
//!
//! The verbs that change it stand beside: `admission.rs` (admit), `plan.rs` (schedule),
//! `fairness.rs` and `prompts.rs` (who gets what), `commit.rs` (commit), `loss.rs` (lost). Here are cancel, expire, and what can be read.

use std::collections::VecDeque;

use gimbal_batch::{Limits, SeqSlot, StepId};

use crate::adapters::Adapters;
use crate::blocks::Blocks;
use crate::count;
use crate::fairness::Seats;
use crate::pace::Pace;
use crate::request::{Event, Finish, Micros, Policy, Request, RequestId, Stats};
use crate::sequence::{Domain, Sequence, State};
use crate::shape::Frame;
use crate::slab::Slab;

/// Decides which rows a device computes next, and what became of whom.
///
/// The caller submits every step that `schedule` returns and commits its outcome, in order; or
/// calls `lost` when the device is gone.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub(crate) limits: Limits,
    pub(crate) policy: Policy,
    pub(crate) frame: Frame,
    pub(crate) jobs: Slab<Job>,
    pub(crate) sequences: Slab<Sequence>,
    /// By rank.
    pub(crate) waiting: VecDeque<usize>,
    /// By rank.
    pub(crate) running: Vec<usize>,
    pub(crate) blocks: Blocks,
    pub(crate) adapters: Adapters,
    pub(crate) slots_free: Vec<SeqSlot>,
    /// Slots the device was not yet told are closed.
    pub(crate) closes: Vec<SeqSlot>,
    /// In flight, the oldest first.
    pub(crate) steps: VecDeque<Step>,
    /// Memory of steps that are done.
    pub(crate) spare: Vec<Step>,
    /// Events that arose where no list was at hand.
    pub(crate) news: Vec<Event>,
    /// Requests that have not started.
    pub(crate) queued: u32,
    /// Choices of started requests that have not ended: seats of the rolling batch they will need.
    pub(crate) claimed: u32,
    /// Sequences that left the batch since the newest commit.
    pub(crate) ends: u32,
    pub(crate) next_step: u64,
    pub(crate) next_arrival: u64,
    /// Who led the newest step, where prompts and decode rows take turns.
    pub(crate) newest_lead: Lead,
    /// Never later than the earliest deadline of a living request.
    pub(crate) earliest_deadline: Option<Micros>,
    pub(crate) pace: Pace,
    /// As of the newest plan.
    pub(crate) seats: Seats,
    /// Who waits first found a seat and no blocks.
    pub(crate) is_short: bool,
    /// Totals; gauges are computed by `stats`.
    pub(crate) totals: Stats,
}

/// Who a step is made for, where not all fit one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    Prefill,
    Decode,
}

/// A request that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) arrival: u64,
    pub(crate) admitted: Micros,
    pub(crate) started: bool,
    /// Choices that are sequences already; the others wait for the first one's prefill.
    pub(crate) spawned: u16,
    /// Choices that have not ended.
    pub(crate) unfinished: u16,
    /// Devices lost while a step of it was in flight.
    pub(crate) losses: u32,
    /// How often its sequences were preempted.
    pub(crate) preemptions: u32,
    pub(crate) domain: Domain,
    /// Its blocks have names.
    pub(crate) shares: bool,
}

/// A step in flight.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) id: StepId,
    pub(crate) scheduled: Micros,
    /// Rows that begin or continue prompts.
    pub(crate) prompt_rows: u32,
    pub(crate) parts: Vec<Planned>,
}

/// One sequence's share of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    pub(crate) sequence: usize,
    pub(crate) start: u32,
    pub(crate) rows: u32,
    /// Rows whose prompt tokens are scored.
    pub(crate) scores: u32,
    /// Samples, after them.
    pub(crate) outputs: u32,
}

impl Planned {
    /// Answers that its rows bring.
    pub(crate) fn answers(&self) -> u32 {
        self.scores + self.outputs
    }
}

impl Scheduler {
    /// A scheduler for one device with nothing to do.
    ///
    /// # Panics
    /// If the limits are not legal.
    #[must_use]
    pub fn new(limits: Limits, policy: Policy) -> Self {
        let legal = limits.check();
        assert!(legal.is_ok(), "{legal:?}");
        let frame = Frame::new(&limits, &policy);
        let rolling = frame.rolling_max as usize;
        let slots_free = (0..limits.sequences_max).rev().map(SeqSlot).collect();
        Self {
            frame,
            jobs: Slab::new(),
            sequences: Slab::new(),
            waiting: VecDeque::new(),
            running: Vec::with_capacity(rolling),
            blocks: Blocks::new(limits.kv),
            adapters: Adapters::new(limits.adapters_max),
            slots_free,
            closes: Vec::with_capacity(limits.sequences_max as usize),
            steps: VecDeque::with_capacity(limits.depth as usize),
            spare: Vec::with_capacity(limits.depth as usize),
            news: Vec::new(),
            queued: 0,
            claimed: 0,
            ends: 0,
            next_step: 0,
            next_arrival: 0,
            newest_lead: Lead::Decode,
            earliest_deadline: None,
            pace: frame.pace(&limits),
            seats: Seats::default(),
            is_short: false,
            totals: Stats::default(),
            limits,
            policy,
        }
    }

    /// Ends a request now; unknown and ended ones are ignored. The rows it has in flight are
    /// dropped when they come, and its slot and blocks are freed then.
    pub fn cancel(&mut self, id: RequestId, events: &mut Vec<Event>) {
        events.append(&mut self.news);
        let job = self.jobs.iter().find(|(_, job)| job.request.id == id).map(|(key, _)| key);
        if let Some(job) = job {
            self.end_job(job, Finish::Cancelled, events);
        }
    }

    /// Ends all requests whose deadline has come.
    pub fn expire(&mut self, now: Micros, events: &mut Vec<Event>) {
        events.append(&mut self.news);
        if self.earliest_deadline.is_none_or(|at| now < at) {
            return;
        }
        for job in 0..self.jobs.bound() {
            let deadline = self.jobs.find(job).and_then(|job| job.request.deadline);
            if deadline.is_some_and(|at| at <= now) {
                self.end_job(job, Finish::Deadline, events);
            }
        }
        self.earliest_deadline = self.jobs.iter().filter_map(|(_, j)| j.request.deadline).min();
    }

    /// When `expire` should be called next: never too late, seldom too early.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        self.earliest_deadline
    }

    /// Tokens that a request may have, prompt and output together.
    #[must_use]
    pub fn model_len_max(&self) -> u32 {
        self.frame.model_len_max
    }

    /// True when no request lives and no step is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.steps.is_empty()
    }

    /// How often the sequences of a request were preempted; 0 for one that is not inside.
    #[must_use]
    pub fn preemptions(&self, id: RequestId) -> u32 {
        let job = self.jobs.iter().find(|(_, job)| job.request.id == id);
        job.map_or(0, |(_, job)| job.preemptions)
    }

    /// What is counted, now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            waiting: self.queued,
            running: count(self.running.len()),
            held: self.held(),
            blocks_used: self.blocks.used(),
            blocks_cached: self.blocks.cached(),
            blocks_free: self.blocks.free(),
            slots_used: self.limits.sequences_max - count(self.slots_free.len()),
            in_flight: count(self.steps.len()),
            step_us: self.pace.step_us(),
            ..self.totals
        }
    }

    /// Requests with a choice that waits, by rank.
    pub fn waiting(&self) -> impl Iterator<Item = RequestId> {
        self.waiting.iter().map(|key| self.sequences[*key].id)
    }

    /// Whom each output of the newest step is for, in order; where masks are wanted, they are
    /// written into the batch's samples before it is submitted. None of them is held.
    pub fn outputs(&self) -> impl Iterator<Item = (RequestId, u16)> {
        let parts = self.steps.back().map_or(&[][..], |step| &step.parts);
        parts.iter().flat_map(|part| {
            let sequence = &self.sequences[part.sequence];
            (0..part.answers()).map(|_| (sequence.id, sequence.choice))
        })
    }

    /// Asserts that the books agree; for tests, it reads everything.
    ///
    /// # Panics
    /// If they do not.
    pub fn audit(&self) {
        self.blocks.audit(self.sequences.iter().flat_map(|(_, s)| s.table.iter().copied()));
        let jobs = || self.jobs.iter().map(|(_, job)| job);
        assert_eq!(self.queued, count(jobs().filter(|job| !job.started).count()), "the queue");
        let started = jobs().filter(|job| job.started).map(|job| u32::from(job.unfinished));
        assert_eq!(self.claimed, started.sum::<u32>(), "the seats of the rolling batch");
        let mut slots: Vec<_> = self.slots_free.clone();
        for (key, sequence) in self.sequences.iter() {
            let parts = self.steps.iter().flat_map(|step| &step.parts);
            let in_flight = parts.filter(|part| part.sequence == key).count();
            assert_eq!(sequence.in_flight, count(in_flight), "rows in flight are counted");
            let lists = (self.waiting.contains(&key), self.running.contains(&key));
            match sequence.state {
                State::Waiting => assert_eq!(lists, (true, false), "a waiting one waits"),
                State::Running(slot) => {
                    assert_eq!(lists, (false, true), "a running one runs");
                    slots.push(slot);
                }
                State::Zombie(slot) => {
                    assert_eq!(lists, (false, false), "a zombie has left");
                    assert!(in_flight > 0, "a zombie is buried with its last step");
                    slots.push(slot);
                }
            }
        }
        slots.sort_unstable();
        let all = (0..self.limits.sequences_max).map(SeqSlot);
        assert!(slots.into_iter().eq(all), "a slot has one owner or none");
    }

    /// Ends all choices of a request.
    pub(crate) fn end_job(&mut self, job: usize, reason: Finish, events: &mut Vec<Event>) {
        let Job { spawned, started, request, .. } = &self.jobs[job];
        let (id, spawned, choices) = (request.id, *spawned, request.choices);
        for choice in spawned..choices {
            events.push(Event::Finished { id, choice, reason });
        }
        self.claimed -= if *started { u32::from(choices - spawned) } else { 0 };
        self.jobs[job].unfinished -= choices - spawned;
        self.jobs[job].spawned = choices;
        for key in 0..self.sequences.bound() {
            let own = |s: &Sequence| s.job == job && !matches!(s.state, State::Zombie(_));
            if self.sequences.find(key).is_some_and(own) {
                self.end(key, reason, events);
            }
        }
    }

    /// Ends one choice. What it holds is freed now or with its last step in flight.
    pub(crate) fn end(&mut self, key: usize, reason: Finish, events: &mut Vec<Event>) {
        let sequence = &mut self.sequences[key];
        events.push(Event::Finished { id: sequence.id, choice: sequence.choice, reason });
        let job = sequence.job;
        match sequence.state {
            State::Waiting => self.waiting.retain(|k| *k != key),
            State::Running(slot) => {
                sequence.state = State::Zombie(slot);
                self.ends += 1;
                self.running.retain(|k| *k != key);
            }
            State::Zombie(_) => unreachable!("a sequence ends once"),
        }
        if self.sequences[key].in_flight == 0 {
            self.bury(key);
        }
        self.jobs[job].unfinished -= 1;
        self.claimed -= u32::from(self.jobs[job].started);
        if self.jobs[job].unfinished == 0 {
            let job = self.jobs.remove(job);
            self.queued -= u32::from(!job.started);
        }
    }

    /// Frees what an ended sequence holds.
    pub(crate) fn bury(&mut self, key: usize) {
        self.release(key);
        self.sequences.remove(key);
    }

    /// Takes slot and blocks from a sequence without rows in flight.
    pub(crate) fn release(&mut self, key: usize) {
        let sequence = &mut self.sequences[key];
        assert_eq!(sequence.in_flight, 0, "no step writes to released blocks");
        // The end of a prefix is of less use than its beginning and should be evicted first.
        while let Some(block) = sequence.table.pop() {
            self.blocks.release(block);
        }
        if let State::Running(slot) | State::Zombie(slot) = sequence.state {
            self.slots_free.push(slot);
            if sequence.opened {
                self.closes.push(slot);
            }
        }
    }

    /// Puts a sequence into the queue, at its rank.
    pub(crate) fn enqueue(&mut self, key: usize) {
        let rank = self.sequences[key].rank;
        let at = self.waiting.partition_point(|k| self.sequences[*k].rank < rank);
        self.waiting.insert(at, key);
    }
}
