//! Sequences whose masks are late: they have no rows until they are free.
//!
//! A mask is made from all tokens before it, on another thread, while others compute. Whoever makes
//! masks holds a sequence before a step is scheduled and frees it when the mask is there, so that a
//! late one costs its own row only: who is held takes no rows, is not seated, and keeps nobody with
//! the same prefix waiting. It ends, is preempted and survives a loss as everybody does; what is held
//! then stays so, for its next token is the same. Next: `commit.rs`.

use crate::count;
use crate::request::RequestId;
use crate::scheduler::Scheduler;
use crate::sequence::{Sequence, State};

impl Scheduler {
    /// Keeps a choice out of the steps to come; steps in flight go on. Choices that have ended, or
    /// wait for the first one's prefill, are ignored: the latter begin when its first token is told.
    pub fn hold(&mut self, id: RequestId, choice: u16) {
        self.set_held(id, choice, true);
    }

    /// Lets a choice into the next step again.
    pub fn free(&mut self, id: RequestId, choice: u16) {
        self.set_held(id, choice, false);
    }

    fn set_held(&mut self, id: RequestId, choice: u16, held: bool) {
        let is_it = |s: &Sequence| s.id == id && s.choice == choice && is_alive(s);
        let found = self.sequences.iter().find(|(_, s)| is_it(s)).map(|(key, _)| key);
        if let Some(key) = found {
            self.sequences[key].held = held;
        }
    }

    /// Sequences that are held.
    pub(crate) fn held(&self) -> u32 {
        count(self.sequences.iter().filter(|(_, s)| s.held && is_alive(s)).count())
    }
}

fn is_alive(sequence: &Sequence) -> bool {
    !matches!(sequence.state, State::Zombie(_))
}
