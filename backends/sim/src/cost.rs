//! How long a step takes, as data: five numbers a device, each with its source.
//!
//! A roofline: a step reads the weights once or computes all rows, whichever takes longer, and
//! reads the KV of every sequence. Good for comparing policies on one device; no promise about any
//! real one. Next: `script.rs`.

use std::time::Duration;

use gimbal_batch::{Batch, Bucket, Shape};

/// The cost of a step, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Of every step: launches, synchronisation, host work.
    pub step_us: f64,
    /// Of reading the weights once; hidden behind rows when those take longer.
    pub weights_us: f64,
    /// Of one row's matrix products.
    pub row_us: f64,
    /// Of reading the KV of one token, for each sequence of the step.
    pub context_us: f64,
    /// Of one output: logits and sampling.
    pub output_us: f64,
}

impl Cost {
    /// Steps take no time.
    pub const NONE: Self =
        Self { step_us: 0.0, weights_us: 0.0, row_us: 0.0, context_us: 0.0, output_us: 0.0 };

    /// What the step costs. On a device with buckets the padding is paid too.
    #[must_use]
    pub fn of(&self, batch: &Batch, shape: &Shape) -> Duration {
        let (rows, context) = match shape {
            Shape::Varlen { .. } => {
                let context = batch.parts.iter().map(|p| u64::from(p.start + p.rows)).sum();
                (batch.tokens.len() as u64, context)
            }
            Shape::Buckets(buckets) => {
                let bucket = smallest(batch, buckets);
                let context = u64::from(bucket.sequences) * u64::from(bucket.context);
                (bucket.rows().into(), context)
            }
        };
        let outputs = batch.outputs.len() as u64;
        let us = self.step_us
            + self.weights_us.max(float(rows) * self.row_us)
            + float(context) * self.context_us
            + float(outputs) * self.output_us;
        Duration::from_secs_f64(us / 1e6)
    }
}

/// The cheapest bucket the step fits.
fn smallest(batch: &Batch, buckets: &[Bucket]) -> Bucket {
    Bucket::smallest(buckets, &batch.parts).expect("a legal step fits a bucket")
}

fn float(n: u64) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimbal_batch::{AdapterSlot, Part, SeqSlot, Token, TokenId};

    const COST: Cost =
        Cost { step_us: 1000.0, weights_us: 100.0, row_us: 10.0, context_us: 1.0, output_us: 0.0 };

    fn check(parts: &[(u32, u32)], shape: &Shape, expect_us: u64) {
        let part = |(slot, (start, rows)): (u32, &(u32, u32))| Part {
            slot: SeqSlot(slot),
            rows: *rows,
            start: *start,
            blocks: 0..0,
            adapter: AdapterSlot(0),
        };
        let parts: Vec<_> = (0..).zip(parts).map(part).collect();
        let rows: u32 = parts.iter().map(|p| p.rows).sum();
        let tokens = vec![Token::Id(TokenId::new(0)); rows as usize];
        let batch = Batch { tokens, parts, ..Batch::default() };
        assert_eq!(COST.of(&batch, shape), Duration::from_micros(expect_us));
    }

    #[test]
    fn a_step_pays_for_weights_or_rows_and_for_padding() {
        let varlen = Shape::Varlen { rows_max: 64 };
        check(&[(4, 1)], &varlen, 1000 + 100 + 5);
        check(&[(4, 1), (0, 20)], &varlen, 1000 + 210 + 25);
        let bucket = |sequences, rows_each| Bucket { sequences, rows_each, context: 32 };
        let buckets = Shape::Buckets(vec![bucket(4, 8), bucket(4, 4)]);
        check(&[(4, 1)], &buckets, 1000 + 160 + 128);
        check(&[(4, 1), (0, 7)], &buckets, 1000 + 320 + 128);
    }
}
