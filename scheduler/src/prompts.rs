//! Rows of a step for prompts: half of them by rank, half for the shortest.
//!
//! By rank alone, a few long prompts would keep a short one from its first token for as long as they
//! take; by length alone, a long one might wait for ever. Prompts of one length come out first come,
//! first served. Next: `fairness.rs`.

use crate::scheduler::Scheduler;
use crate::sequence::Rank;
use crate::shape::{Need, Room};

/// Rows left to give to a prompt, its rank, and where it is.
type Left = (u32, Rank, usize);

impl Scheduler {
    /// Gives rows to prompts that run.
    pub(crate) fn plan_prompts(&mut self, room: &mut Room) {
        let kept = if self.is_crowded() { room.rows() / 2 } else { 0 };
        for i in 0..self.running.len() {
            let key = self.running[i];
            let most = room.rows().saturating_sub(kept);
            if most > 0 && self.sequences[key].is_prefilling() {
                self.grant_more(key, most, room);
            }
        }
        let mut after = None;
        while let Some(next) = self.shortest(after).filter(|_| !room.is_full()) {
            if !self.grant_more(next.2, room.rows(), room) {
                // It stands before a span that does not fit; others may not.
                after = Some(next);
            }
        }
    }

    /// True if more than one prompt wants rows.
    fn is_crowded(&self) -> bool {
        let prompts = self.running.iter().filter(|key| self.sequences[**key].is_prefilling());
        prompts.take(2).count() > 1
    }

    /// The running prompt with the fewest rows left to give, of those `after` one: how many, whose,
    /// and where it is.
    fn shortest(&self, after: Option<Left>) -> Option<Left> {
        let left = |key: &usize| {
            let s = &self.sequences[*key];
            let left = s.pending().saturating_sub(s.rows);
            (s.is_prefilling() && left > 0).then_some((left, s.rank, *key))
        };
        let is_next = |left: &Left| after.is_none_or(|after| *left > after);
        self.running.iter().filter_map(left).filter(is_next).min()
    }

    /// Gives a sequence up to `most` rows beside those it has; false when it gets none.
    pub(crate) fn grant_more(&mut self, key: usize, most: u32, room: &mut Room) -> bool {
        let sequence = &mut self.sequences[key];
        let had = sequence.rows;
        let need = Need {
            cached: sequence.cached + had,
            pending: sequence.pending().saturating_sub(had).min(most),
            spans: &sequence.spans,
        };
        let rows = room.grant(need);
        if rows == 0 {
            return false;
        }
        match had {
            0 => room.take(rows),
            _ => room.extend(rows),
        }
        sequence.rows = had + rows;
        self.cover(key);
        true
    }
}
