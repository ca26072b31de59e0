//! What a device can do, as bytes.

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;
use crate::{Bucket, Kv, Limits, Prefill, Sampling, Shape};

/// Compiled shapes, at most; `Limits::check` refuses as many.
const BUCKETS_MAX: u64 = 1 << 12;

pub(super) fn write(limits: &Limits, w: &mut Writer<'_>) {
    let Limits { kv, shape, prefill, sequences_max, context_tokens_max, vocab, .. } = limits;
    let Limits { adapters_max, inject_width, depth, sampling, batch_invariant, .. } = limits;
    w.u32(kv.blocks);
    w.u32(kv.block_tokens);
    match shape {
        Shape::Varlen { rows_max } => {
            w.u8(0);
            w.u32(*rows_max);
        }
        Shape::Buckets(buckets) => {
            w.u8(1);
            w.count(buckets.len());
            for Bucket { sequences, rows_each, context } in buckets {
                for number in [sequences, rows_each, context] {
                    w.u32(*number);
                }
            }
        }
    }
    w.u8(match prefill {
        Prefill::Chunked => 0,
        Prefill::Whole => 1,
    });
    for number in [sequences_max, context_tokens_max, vocab, adapters_max, inject_width, depth] {
        w.u32(*number);
    }
    let Sampling { random, top_k_max, penalties, masks, ends_max, .. } = *sampling;
    let Sampling { logprobs_max, scores_max, rows, drafts, .. } = *sampling;
    w.bool(random);
    w.u32(top_k_max);
    w.bool(penalties);
    w.bool(masks);
    w.u32(ends_max);
    w.u8(logprobs_max);
    w.u32(scores_max);
    w.bool(rows);
    w.bool(drafts);
    w.bool(*batch_invariant);
}

pub(super) fn read(r: &mut Reader<'_>) -> Result<Limits, WireError> {
    let kv = Kv { blocks: r.u32("blocks")?, block_tokens: r.u32("tokens of a block")? };
    let shape = match r.u8("a shape")? {
        0 => Shape::Varlen { rows_max: r.u32("rows of a step")? },
        1 => {
            let count = r.count("buckets", BUCKETS_MAX, 12)?;
            let mut buckets = Vec::with_capacity(count);
            for _ in 0..count {
                let sequences = r.u32("a bucket's sequences")?;
                let rows_each = r.u32("a bucket's rows")?;
                buckets.push(Bucket {
                    sequences,
                    rows_each,
                    context: r.u32("a bucket's context")?,
                });
            }
            Shape::Buckets(buckets)
        }
        found => return Err(WireError::Tag { what: "shape", found }),
    };
    let prefill = match r.u8("a way of prefill")? {
        0 => Prefill::Chunked,
        1 => Prefill::Whole,
        found => return Err(WireError::Tag { what: "way of prefill", found }),
    };
    Ok(Limits {
        kv,
        shape,
        prefill,
        sequences_max: r.u32("sequence slots")?,
        context_tokens_max: r.u32("the context")?,
        vocab: r.u32("the vocabulary")?,
        adapters_max: r.u32("adapter slots")?,
        inject_width: r.u32("the width of injected rows")?,
        depth: r.u32("the depth")?,
        sampling: Sampling {
            random: r.bool("random choice")?,
            top_k_max: r.u32("top-k")?,
            penalties: r.bool("penalties")?,
            masks: r.bool("masks")?,
            ends_max: r.u32("end tokens")?,
            logprobs_max: r.u8("logprobs")?,
            scores_max: r.u32("scores")?,
            rows: r.bool("output rows")?,
            drafts: r.bool("guesses")?,
        },
        batch_invariant: r.bool("batch invariance")?,
    })
}
