//! The device is gone, and with it all KV and all steps in flight; another may come in its place.
//!
//! Nothing a user sees is lost: sequences go back to the queue with the tokens they have, and are
//! computed again. Only what the new device cannot hold is refused. Next: `shape.rs`.

use gimbal_batch::{Limits, SeqSlot};

use crate::blocks::Blocks;
use crate::request::{Event, Finish, Micros};
use crate::scheduler::Scheduler;
use crate::sequence::State;
use crate::shape::Frame;

/// A request in flight at so many losses may be their cause; it ends.
const LOSSES_MAX: u32 = 2;

impl Scheduler {
    /// Forgets the device. The caller submits nothing until a new one is open, and never commits
    /// a step from before.
    pub fn lost(&mut self, now: Micros, events: &mut Vec<Event>) {
        self.expire(now, events);
        self.totals.losses += 1;
        self.count_losses();
        self.steps.clear();
        self.running.clear();
        for key in 0..self.sequences.bound() {
            let Some(state) = self.sequences.find(key).map(|s| s.state) else { continue };
            self.sequences[key].in_flight = 0;
            match state {
                State::Waiting => {}
                State::Zombie(_) => self.bury(key),
                State::Running(_) => {
                    self.release(key);
                    self.sequences[key].restart();
                    self.enqueue(key);
                }
            }
        }
        self.blocks.reset();
        self.adapters.reset();
        self.closes.clear();
        for job in 0..self.jobs.bound() {
            if self.jobs.find(job).is_some_and(|job| job.losses >= LOSSES_MAX) {
                self.end_job(job, Finish::Lost, events);
            }
        }
    }

    /// Goes on with what the device can do that came back, before its first step: requests that do
    /// not fit it end with the refusal they would have had at admission; all others stay.
    ///
    /// # Panics
    /// If the device was not lost, or the limits are not legal: bugs of the caller.
    pub fn relimit(&mut self, limits: &Limits, now: Micros, events: &mut Vec<Event>) {
        assert!(self.running.is_empty() && self.steps.is_empty(), "only after a loss");
        let legal = limits.check();
        assert!(legal.is_ok(), "{legal:?}");
        self.expire(now, events);
        self.limits = limits.clone();
        self.frame = Frame::new(limits, &self.policy);
        self.blocks = Blocks::new(limits.kv);
        self.pace = self.frame.pace(limits);
        self.adapters.resize(limits.adapters_max);
        self.slots_free.clear();
        self.slots_free.extend((0..limits.sequences_max).rev().map(SeqSlot));
        for job in 0..self.jobs.bound() {
            let Some(request) = self.jobs.find(job).map(|job| &job.request) else { continue };
            match self.check_device(request) {
                Err(refusal) => self.end_job(job, Finish::Refused(refusal), events),
                Ok(()) => {
                    let shares = self.shares(&self.jobs[job].request);
                    self.jobs[job].shares = shares;
                    self.jobs[job].domain.block_tokens = limits.kv.block_tokens;
                }
            }
        }
        for key in 0..self.sequences.bound() {
            if self.sequences.find(key).is_some() {
                // They name blocks of another length.
                self.sequences[key].keys.clear();
            }
        }
    }

    /// Counts this loss once for each request with rows in flight.
    fn count_losses(&mut self) {
        for job in 0..self.jobs.bound() {
            let parts = self.steps.iter().flat_map(|step| &step.parts);
            let mut sequences = parts.map(|part| &self.sequences[part.sequence]);
            let in_flight = sequences.any(|s| s.job == job && matches!(s.state, State::Running(_)));
            if in_flight {
                self.jobs[job].losses += 1;
            }
        }
    }
}
