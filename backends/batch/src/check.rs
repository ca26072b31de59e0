//! When a batch is legal for a device.
//!
//! Schedulers assert it after planning, backends before computing (pair assertions); a batch that
//! fails is a bug of the caller, never of a user.

use std::fmt;

use crate::{Batch, Limits, Shape, Token};

/// Why a batch is not legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal(pub String);

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Illegal {}

impl Batch {
    /// Checks the batch against a device's limits.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn check(&self, limits: &Limits) -> Result<(), Illegal> {
        let mut first_row = 0;
        for part in &self.parts {
            self.check_part(part, first_row, limits)?;
            first_row += part.rows;
        }
        rule(first_row as usize == self.tokens.len(), "parts cover the rows exactly")?;
        let mut slots: Vec<_> = self.parts.iter().map(|p| p.slot).collect();
        slots.sort_unstable();
        rule(slots.windows(2).all(|w| w[0] != w[1]), "a slot has at most one part")?;
        rule(self.outputs.windows(2).all(|w| w[0].row <= w[1].row), "outputs are in row order")?;
        let rows = first_row;
        rule(self.outputs.iter().all(|o| o.row < rows), "an output is one of the rows")?;
        let slot_max = limits.sequences_max;
        rule(self.opens.iter().all(|o| o.slot.0 < slot_max), "an opened slot exists")?;
        rule(self.closes.iter().all(|s| s.0 < slot_max), "a closed slot exists")?;
        match &limits.shape {
            Shape::Varlen { rows_max } => rule(rows <= *rows_max, "rows are within rows_max"),
            Shape::Buckets(buckets) => {
                let fits = |b: &crate::Bucket| {
                    self.parts.len() <= b.sequences as usize
                        && self.parts.iter().all(|p| p.rows <= b.rows_each)
                        && self.parts.iter().all(|p| p.start + p.rows <= b.context)
                };
                rule(buckets.iter().any(fits), "the step fits a bucket")
            }
        }
    }

    fn check_part(&self, p: &crate::Part, row: u32, limits: &Limits) -> Result<(), Illegal> {
        rule(p.rows > 0, "a part has rows")?;
        rule(p.slot.0 < limits.sequences_max, "a part's slot exists")?;
        rule(p.start + p.rows <= limits.context_tokens_max, "a part ends within the context")?;
        rule(p.blocks.start <= p.blocks.end, "a block range is not reversed")?;
        rule(p.blocks.end as usize <= self.blocks.len(), "a block table lies in the batch")?;
        let table = self.table(p);
        let need = limits.kv.blocks_for(p.start + p.rows) as usize;
        rule(table.len() >= need, "a block table covers its part")?;
        rule(table.iter().all(|b| b.0 < limits.kv.blocks), "a block exists")?;
        let rows = row as usize..(row + p.rows) as usize;
        let tokens = self.tokens.get(rows).unwrap_or_default();
        let lasts = tokens.iter().filter(|t| **t == Token::Last).count();
        rule(lasts <= 1, "a part has at most one Token::Last")
    }
}

fn rule(holds: bool, rule: &str) -> Result<(), Illegal> {
    if holds { Ok(()) } else { Err(Illegal(format!("broken rule: {rule}"))) }
}

#[cfg(test)]
mod tests {
    use crate::*;

    fn limits(shape: Shape) -> Limits {
        Limits {
            kv: Kv { blocks: 8, block_tokens: 4 },
            shape,
            prefill: Prefill::Chunked,
            sequences_max: 2,
            context_tokens_max: 16,
            depth: 1,
            sampling: Sampling::HOST,
            batch_invariant: true,
        }
    }

    fn part(slot: u32, rows: u32, start: u32, blocks: std::ops::Range<u32>) -> Part {
        Part { slot: SeqSlot(slot), rows, start, blocks, adapter: AdapterSlot(0) }
    }

    fn check(parts: Vec<Part>, rows: usize, expect: Result<(), &str>) {
        let batch = Batch {
            tokens: vec![Token::Id(1); rows],
            parts,
            blocks: (0..4).map(BlockId).collect(),
            ..Batch::default()
        };
        let found = batch.check(&limits(Shape::Varlen { rows_max: 6 }));
        assert_eq!(found, expect.map_err(|e| Illegal(format!("broken rule: {e}"))));
    }

    #[test]
    fn illegal_batches_name_the_rule() {
        check(vec![part(0, 5, 0, 0..2), part(1, 1, 7, 2..4)], 6, Ok(()));
        check(vec![part(0, 5, 0, 0..1)], 5, Err("a block table covers its part"));
        check(vec![part(0, 5, 0, 0..2)], 6, Err("parts cover the rows exactly"));
        check(vec![part(2, 1, 0, 0..1)], 1, Err("a part's slot exists"));
        check(
            vec![part(0, 1, 0, 0..1), part(0, 1, 0, 1..2)],
            2,
            Err("a slot has at most one part"),
        );
        check(vec![part(0, 4, 0, 0..1), part(1, 4, 0, 1..2)], 8, Err("rows are within rows_max"));
        check(vec![part(0, 1, 16, 0..4)], 1, Err("a part ends within the context"));
        check(vec![part(0, 1, 0, 0..9)], 1, Err("a block table lies in the batch"));
    }

    #[test]
    fn a_step_must_fit_one_bucket() {
        let buckets = Shape::Buckets(vec![
            Bucket { sequences: 1, rows_each: 8, context: 16 },
            Bucket { sequences: 2, rows_each: 1, context: 16 },
        ]);
        let batch = |parts: Vec<Part>| Batch {
            tokens: vec![Token::Id(0); parts.iter().map(|p| p.rows as usize).sum()],
            parts,
            blocks: (0..4).map(BlockId).collect(),
            ..Batch::default()
        };
        let limits = limits(buckets);
        assert!(batch(vec![part(0, 8, 0, 0..2)]).check(&limits).is_ok());
        assert!(batch(vec![part(0, 1, 3, 0..1), part(1, 1, 0, 1..2)]).check(&limits).is_ok());
        assert!(batch(vec![part(0, 2, 0, 0..1), part(1, 1, 0, 1..2)]).check(&limits).is_err());
    }
}
