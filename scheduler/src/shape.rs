//! What the device's shapes allow, as arithmetic on plain numbers.
//!
//! A step that is planned inside one [`Room`] is legal; nothing else decides legality. Next:
//! `plan.rs`.

use std::cmp::Reverse;

use gimbal_batch::{Bucket, Limits, Prefill, Shape};

use crate::pace::Pace;
use crate::request::Policy;
use crate::spans::{Span, uncut};

/// What follows from limits and policy once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Sequences that run together: every one of them can have a row in one step.
    pub(crate) rolling_max: u32,
    /// Tokens of a sequence, prompt and output.
    pub(crate) model_len_max: u32,
    /// Rows a step should have, at most.
    pub(crate) rows: u32,
    /// Prompts are computed in one step.
    pub(crate) whole: bool,
    /// Prompts and decode rows may not fit one step: they take turns.
    pub(crate) turns: bool,
}

impl Frame {
    pub(crate) fn new(limits: &Limits, policy: &Policy) -> Self {
        let whole = limits.prefill == Prefill::Whole;
        let kv_tokens = limits.kv.blocks.saturating_mul(limits.kv.block_tokens);
        let len = limits.context_tokens_max.min(kv_tokens);
        let rolling = policy.max_rolling_batch_size.min(limits.sequences_max).max(1);
        match &limits.shape {
            Shape::Varlen { rows_max } => {
                let rows = policy.step_tokens_max.clamp(1, *rows_max);
                Self {
                    rolling_max: rolling.min(rows),
                    model_len_max: if whole { len.min(*rows_max) } else { len },
                    rows,
                    whole,
                    turns: whole,
                }
            }
            Shape::Buckets(buckets) => {
                let reach = |b: &Bucket| if whole { b.context.min(b.rows_each) } else { b.context };
                let most = |of: fn(&Bucket) -> u32| buckets.iter().map(of).max().unwrap_or(0);
                let reach = buckets.iter().map(reach).max().unwrap_or(0);
                Self {
                    rolling_max: rolling.min(most(|b| b.sequences)),
                    model_len_max: len.min(reach),
                    rows: u32::MAX,
                    whole,
                    turns: true,
                }
            }
        }
    }

    /// Rows that a span may have which ends at that token.
    pub(crate) fn span_rows_max(&self, limits: &Limits, end: u32) -> u32 {
        match &limits.shape {
            _ if self.whole => u32::MAX,
            Shape::Varlen { .. } => self.rows,
            Shape::Buckets(buckets) => {
                let reach = buckets.iter().filter(|bucket| bucket.context >= end);
                reach.map(|bucket| bucket.rows_each).max().unwrap_or(0)
            }
        }
    }

    /// A pace of which nothing was measured yet.
    pub(crate) fn pace(&self, limits: &Limits) -> Pace {
        Pace::new(limits.kv.block_tokens.min(self.rows), self.rows)
    }
}

/// Rows that can still be planned into a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    rows: u32,
    parts: u32,
    rows_each: u32,
    context: u32,
    whole: bool,
}

impl Room {
    /// A step of any mixture with `rows` rows.
    pub(crate) fn varlen(rows: u32, whole: bool) -> Self {
        Self { rows, parts: u32::MAX, rows_each: u32::MAX, context: u32::MAX, whole }
    }

    /// The bucket that serves the `lead` best, then the most `decodes`, then wastes the least.
    pub(crate) fn bucket<'a>(
        buckets: &[Bucket],
        whole: bool,
        lead: Need<'a>,
        decodes: &(impl Iterator<Item = Need<'a>> + Clone),
    ) -> Self {
        let room = |b: &Bucket| Self {
            rows: u32::MAX,
            parts: b.sequences,
            rows_each: b.rows_each,
            context: b.context,
            whole,
        };
        let score = |b: &&Bucket| {
            let room = room(b);
            let served = decodes.clone().filter(|need| room.grant(*need) > 0).count();
            let area = u64::from(b.sequences) * u64::from(b.rows_each);
            let served = served.min(b.sequences as usize);
            (room.grant(lead), served, Reverse((area, b.context)))
        };
        buckets.iter().max_by_key(score).map(room).expect("a device has a bucket")
    }

    /// Rows that `need` may have.
    pub(crate) fn grant(&self, need: Need<'_>) -> u32 {
        if self.parts == 0 {
            return 0;
        }
        let reach = self.context.saturating_sub(need.cached);
        let rows = need.pending.min(self.rows).min(self.rows_each).min(reach);
        let rows = uncut(need.spans, need.cached, rows);
        if self.whole && rows < need.pending { 0 } else { rows }
    }

    /// Takes a part of `rows` rows.
    pub(crate) fn take(&mut self, rows: u32) {
        self.parts -= 1;
        self.rows -= rows;
    }

    /// More rows for a part that was taken already; for shapes without buckets.
    pub(crate) fn extend(&mut self, rows: u32) {
        self.rows -= rows;
    }

    /// Rows that are left.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// True when no further part fits.
    pub(crate) fn is_full(&self) -> bool {
        self.rows == 0 || self.parts == 0
    }
}

/// What a sequence wants of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need<'a> {
    pub(crate) cached: u32,
    pub(crate) pending: u32,
    /// Rows that are not parted.
    pub(crate) spans: &'a [Span],
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn bucket(sequences: u32, rows_each: u32, context: u32) -> Bucket {
        Bucket { sequences, rows_each, context }
    }

    const BUCKETS: [Bucket; 5] =
        [bucket(1, 8, 64), bucket(1, 32, 64), bucket(2, 1, 64), bucket(4, 1, 32), bucket(4, 1, 64)];

    fn check(lead: (u32, u32), decodes: &[u32], whole: bool, expect: Bucket) {
        let need = |(cached, pending)| Need { cached, pending, spans: &[] };
        let decodes = decodes.iter().map(|cached| need((*cached, 1)));
        let found = Room::bucket(&BUCKETS, whole, need(lead), &decodes);
        let found = bucket(found.parts, found.rows_each, found.context);
        assert_eq!(found, expect, "lead {lead:?}");
    }

    #[test]
    fn the_lead_is_served_first_then_the_many_then_the_small() {
        check((0, 5), &[], false, bucket(1, 8, 64));
        check((0, 9), &[], false, bucket(1, 32, 64));
        check((60, 9), &[], false, bucket(1, 8, 64));
        check((5, 1), &[5, 6], false, bucket(2, 1, 64));
        check((5, 1), &[5, 6, 7], false, bucket(4, 1, 32));
        check((5, 1), &[5, 40, 40], false, bucket(4, 1, 64));
        check((0, 30), &[3], true, bucket(1, 32, 64));
    }

    #[test]
    fn a_whole_prompt_is_granted_whole_or_not() {
        let grant = |room: Room, pending| room.grant(Need { cached: 0, pending, spans: &[] });
        assert_eq!(grant(Room::varlen(8, true), 9), 0);
        assert_eq!(grant(Room::varlen(8, true), 8), 8);
        assert_eq!(grant(Room::varlen(8, false), 9), 8);
    }
}
