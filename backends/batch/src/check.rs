//! When a batch, or what a device says of itself, is legal.
//!
//! Backends assert it before computing, the simulation after every plan (pair assertions); a batch
//! that fails is a bug of the caller, never of a user. No number in a batch makes a check panic: batches
//! also come over a wire. Next: `accept.rs`.

use std::fmt;

use crate::{Batch, Limits, Output, Shape, Token, Want};

/// Blocks of a KV cache, at most: 2²⁶ blocks of 16 tokens are more than any host's memory.
const BLOCKS_MAX: u32 = 1 << 26;

/// Sequence slots, steps in flight, adapters and compiled shapes, at most: so many more than any
/// device has that only a broken message says more.
const SLOTS_MAX: u32 = 1 << 16;
const DEPTH_MAX: u32 = 1 << 8;
const ADAPTERS_MAX: u32 = 1 << 12;
const BUCKETS_MAX: usize = 1 << 12;

/// Why a batch is not legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal(pub String);

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Illegal {}

impl Limits {
    /// Checks that a scheduler can work with them.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn check(&self) -> Result<(), Illegal> {
        rule((1..=BLOCKS_MAX).contains(&self.kv.blocks), "a device has blocks, up to 2^26")?;
        rule(self.kv.block_tokens > 0, "a block holds tokens")?;
        let slots = (1..=SLOTS_MAX).contains(&self.sequences_max);
        rule(slots, "a device has sequence slots, up to 65536")?;
        rule((1..=DEPTH_MAX).contains(&self.depth), "from 1 to 256 steps are in flight")?;
        rule(self.context_tokens_max > 0, "a sequence has tokens")?;
        rule(self.vocab > 0, "a model knows tokens")?;
        rule(self.adapters_max <= ADAPTERS_MAX, "at most 4096 adapters are loaded")?;
        match &self.shape {
            Shape::Varlen { rows_max } => rule(*rows_max > 0, "a step has rows"),
            Shape::Buckets(buckets) => {
                let count = (1..=BUCKETS_MAX).contains(&buckets.len());
                rule(count, "a device has from 1 to 4096 buckets")?;
                let empty = |b: &crate::Bucket| b.sequences.min(b.rows_each).min(b.context) == 0;
                rule(!buckets.iter().any(empty), "a bucket has sequences, rows and context")
            }
        }
    }
}

impl Batch {
    /// Checks the batch against a device's limits.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn check(&self, limits: &Limits) -> Result<(), Illegal> {
        let mut rows = 0u32;
        for part in &self.parts {
            self.check_part(part, rows, limits)?;
            rows += part.rows;
        }
        rule(rows as usize == self.tokens.len(), "parts cover the rows exactly")?;
        let known = |t: &Token| !matches!(t, Token::Id(id) if id.get() >= limits.vocab);
        rule(self.tokens.iter().all(known), "a token is one of the vocabulary")?;
        self.check_outputs(rows, limits)?;
        self.check_inject(rows, limits)?;
        self.check_adapters(limits)?;
        self.check_slots(limits)?;
        match &limits.shape {
            Shape::Varlen { rows_max } => rule(rows <= *rows_max, "rows are within rows_max"),
            Shape::Buckets(buckets) => {
                rule(buckets.iter().any(|b| b.holds(&self.parts)), "the step fits a bucket")
            }
        }
    }

    /// The part begins at row `row`; when it is legal, none of its sums overflows.
    fn check_part(&self, p: &crate::Part, row: u32, limits: &Limits) -> Result<(), Illegal> {
        rule(p.rows > 0, "a part has rows")?;
        rule(p.slot.0 < limits.sequences_max, "a part's slot exists")?;
        let end = p.start.checked_add(p.rows).filter(|end| *end <= limits.context_tokens_max);
        let Some(end) = end else { return rule(false, "a part ends within the context") };
        rule(p.blocks.start <= p.blocks.end, "a block range is not reversed")?;
        rule(p.blocks.end as usize <= self.blocks.len(), "a block table lies in the batch")?;
        let table = self.table(p);
        let need = limits.kv.blocks_for(end) as usize;
        rule(table.len() >= need, "a block table covers its part")?;
        rule(table.iter().all(|b| b.0 < limits.kv.blocks), "a block exists")?;
        rule(u32::from(p.adapter.0) <= limits.adapters_max, "a part's adapter exists")?;
        let last_row = row.checked_add(p.rows).map(|end| row as usize..end as usize);
        let tokens = last_row.and_then(|rows| self.tokens.get(rows));
        let Some(tokens) = tokens else { return rule(false, "parts cover the rows exactly") };
        let lasts = tokens.iter().filter(|t| **t == Token::Last).count();
        rule(lasts <= 1, "a part has at most one Token::Last")
    }

    fn check_outputs(&self, rows: u32, limits: &Limits) -> Result<(), Illegal> {
        let able = limits.sampling;
        rule(self.outputs.windows(2).all(|w| w[0].row <= w[1].row), "outputs are in row order")?;
        let crowded = |w: &[Output]| w[0].row == w[3].row;
        rule(!self.outputs.windows(4).any(crowded), "a row has at most three outputs")?;
        for Output { row, want, mask } in &self.outputs {
            rule(*row < rows, "an output is one of the rows")?;
            match want {
                Want::Sample => {}
                Want::Score { ids, top } => {
                    let few = ids.len() as u64 <= u64::from(able.scores_max);
                    rule(few && able.scores_max > 0, "the device scores so many tokens")?;
                    let known = ids.iter().all(|id| id.get() < limits.vocab);
                    rule(known, "a scored token is one of the vocabulary")?;
                    rule(*top <= able.logprobs_max, "the device gives so many alternatives")?;
                }
                Want::Row => rule(able.rows, "the device gives output rows")?,
            }
            if let Some(mask) = mask {
                rule(able.masks, "the device takes masks")?;
                rule(*want == Want::Sample, "a mask is for a sample")?;
                let words = limits.vocab.div_ceil(32) as usize;
                rule(mask.0.len() == words, "a mask covers the vocabulary")?;
            }
        }
        rule(able.drafts || self.samples_newest(), "the device samples of a part's last row only")
    }

    /// True if samples are of the last rows of their parts.
    fn samples_newest(&self) -> bool {
        let (mut parts, mut end) = (self.parts.iter(), 0);
        self.outputs.iter().filter(|output| output.want == Want::Sample).all(|output| {
            while end <= output.row {
                let Some(part) = parts.next() else { return false };
                end += part.rows;
            }
            output.row + 1 == end
        })
    }

    fn check_inject(&self, rows: u32, limits: &Limits) -> Result<(), Illegal> {
        let width = limits.inject_width as usize;
        rule(width > 0 || self.inject.is_empty(), "the device takes injected rows")?;
        let ascending = self.inject.windows(2).all(|w| w[0].0 < w[1].0);
        rule(ascending, "injected rows are in row order, each once")?;
        rule(self.inject.iter().all(|(row, _)| *row < rows), "an injected row is one of the rows")?;
        let wide = self.inject.iter().all(|(_, numbers)| numbers.len() == width);
        rule(wide, "an injected row is as wide as the model")
    }

    fn check_adapters(&self, limits: &Limits) -> Result<(), Illegal> {
        let slots = |(slot, _): &(crate::AdapterSlot, _)| u32::from(slot.0);
        let exists = |slot: u32| (1..=limits.adapters_max).contains(&slot);
        rule(self.adapters.iter().map(slots).all(exists), "a loaded adapter's slot exists")?;
        let ascending = self.adapters.windows(2).all(|w| w[0].0 < w[1].0);
        rule(ascending, "adapters are in order of their slots, each once")?;
        let named = |(_, adapter): &(_, Option<std::sync::Arc<crate::Adapter>>)| {
            adapter.as_ref().is_none_or(|adapter| adapter.generation > 0)
        };
        rule(self.adapters.iter().all(named), "an adapter has a generation")
    }

    fn check_slots(&self, limits: &Limits) -> Result<(), Illegal> {
        let unique = |slots: &mut dyn Iterator<Item = crate::SeqSlot>| {
            let mut slots: Vec<_> = slots.collect();
            slots.sort_unstable();
            slots.windows(2).all(|w| w[0] != w[1])
        };
        rule(unique(&mut self.parts.iter().map(|p| p.slot)), "a slot has at most one part")?;
        rule(unique(&mut self.opens.iter().map(|o| o.slot)), "a slot is opened at most once")?;
        rule(unique(&mut self.closes.iter().copied()), "a slot is closed at most once")?;
        let slot_max = limits.sequences_max;
        rule(self.closes.iter().all(|s| s.0 < slot_max), "a closed slot exists")?;
        for open in &self.opens {
            rule(open.slot.0 < slot_max, "an opened slot exists")?;
            let tokens = 1..=limits.context_tokens_max as usize;
            rule(tokens.contains(&open.tokens.len()), "an opened slot has tokens for its context")?;
            rule(open.prompt as usize <= open.tokens.len(), "a prompt is some of the tokens")?;
            let known = open.tokens.iter().all(|id| id.get() < limits.vocab);
            rule(known, "an opened slot's tokens are of the vocabulary")?;
            let accepted = limits.accepts(&open.params, false).is_ok();
            rule(accepted, "the device understands an opened slot's parameters")?;
        }
        Ok(())
    }
}

fn rule(holds: bool, rule: &str) -> Result<(), Illegal> {
    if holds { Ok(()) } else { Err(Illegal(format!("broken rule: {rule}"))) }
}

#[cfg(test)]
pub(crate) mod tests;
