//! The device is gone, and with it all KV and all steps in flight.
//!
//! Nothing a user sees is lost: sequences go back to the queue with the tokens they have, and are
//! computed again. Next: `shape.rs`.

use crate::request::{Event, Finish, Micros};
use crate::scheduler::Scheduler;
use crate::sequence::State;

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
