//! Parts of a prompt whose embeddings are given instead of looked up: images and sounds.
//!
//! The tokens of a span are all alike, so its digest names it: in the names of the blocks that it
//! lies in, and therefore of all blocks behind it. A span is computed in one step, for its rows may
//! attend to each other. Next: `scheduler.rs`.

use std::sync::Arc;

use gimbal_batch::{Cannot, Limits};

use crate::count;
use crate::request::Refusal;

/// Tokens of a prompt whose rows are injected.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Where in the prompt it begins.
    pub start: u32,
    /// Names what the rows hold, in 128 bits: equal digests share KV.
    pub digest: u128,
    /// For each of its tokens, as many numbers as the model is wide.
    pub rows: Arc<[Arc<[f32]>]>,
}

impl Span {
    /// Where in the prompt it has ended.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.start.saturating_add(self.len())
    }

    fn len(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }
}

/// Checks the spans of a prompt; `rows_max` says how many rows one that ends there may have.
pub(crate) fn check(
    spans: &[Span],
    prompt_tokens: usize,
    limits: &Limits,
    rows_max: impl Fn(u32) -> u32,
) -> Result<(), Refusal> {
    if !spans.is_empty() && limits.inject_width == 0 {
        return Err(Refusal::Unsupported(Cannot::Do("an image or a sound")));
    }
    let mut end = 0;
    for span in spans {
        let invalid = |what| Err(Refusal::Invalid { what });
        if span.rows.is_empty() {
            return invalid("a span must have rows");
        }
        if span.start < end || span.end() as usize > prompt_tokens {
            return invalid("spans must be in order, apart, and within the prompt");
        }
        if span.rows.iter().any(|row| row.len() != limits.inject_width as usize) {
            return invalid("the rows of a span must be as wide as the model");
        }
        end = span.end();
        let (rows, rows_max) = (span.len(), rows_max(end));
        if rows > rows_max {
            return Err(Refusal::TooManyRows { rows, rows_max });
        }
    }
    Ok(())
}

/// Those that have tokens among `first..end`.
pub(crate) fn among(spans: &[Span], first: u32, end: u32) -> &[Span] {
    let from = spans.partition_point(|span| span.end() <= first);
    let to = spans.partition_point(|span| span.start < end);
    &spans[from..to.max(from)]
}

/// As many of `rows` rows after `first` as part no span: those before it, where one would be.
pub(crate) fn uncut(spans: &[Span], first: u32, rows: u32) -> u32 {
    let end = first + rows;
    match spans[spans.partition_point(|span| span.end() <= end)..].first() {
        Some(span) if span.start < end => span.start.saturating_sub(first),
        _ => rows,
    }
}

/// As many of `blocks` blocks from the beginning as part no span.
pub(crate) fn uncut_blocks(spans: &[Span], mut blocks: usize, block_tokens: u32) -> usize {
    loop {
        let tokens = count(blocks) * block_tokens;
        match uncut(spans, 0, tokens) {
            uncut if uncut == tokens => return blocks,
            uncut => blocks = (uncut / block_tokens) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(bounds: &[(u32, u32)]) -> Vec<Span> {
        let row: Arc<[f32]> = [0.0, 1.0].into();
        let span = |(start, end): &(u32, u32)| {
            let rows = (*start..*end).map(|_| Arc::clone(&row)).collect();
            Span { start: *start, digest: 7, rows }
        };
        bounds.iter().map(span).collect()
    }

    #[test]
    fn no_span_is_parted() {
        let check = |bounds, first, rows, expect| {
            assert_eq!(uncut(&spans(bounds), first, rows), expect, "{bounds:?} {first} {rows}");
        };
        let two: &[_] = &[(3, 6), (6, 9)];
        for (rows, expect) in [(2, 2), (3, 3), (4, 3), (5, 3), (6, 6), (7, 6), (9, 9), (12, 12)] {
            check(two, 0, rows, expect);
        }
        check(two, 3, 2, 0);
        check(two, 3, 3, 3);
        check(two, 9, 4, 4);
        check(&[], 2, 5, 5);
    }

    #[test]
    fn blocks_end_before_a_span_or_behind_it() {
        let check = |bounds, blocks, expect| {
            assert_eq!(uncut_blocks(&spans(bounds), blocks, 4), expect, "{bounds:?} {blocks}");
        };
        check(&[(2, 6), (6, 10)], 2, 0);
        check(&[(2, 6), (6, 10)], 3, 3);
        check(&[(4, 8)], 1, 1);
        check(&[(4, 8)], 2, 2);
        check(&[(5, 9)], 2, 1);
    }

    #[test]
    fn spans_of_a_range_are_found() {
        let check = |first, end, expect: &[u32]| {
            let spans = spans(&[(2, 6), (6, 7), (9, 12)]);
            let starts: Vec<_> = among(&spans, first, end).iter().map(|s| s.start).collect();
            assert_eq!(starts, expect, "{first}..{end}");
        };
        check(0, 2, &[]);
        check(0, 3, &[2]);
        check(5, 7, &[2, 6]);
        check(6, 7, &[6]);
        check(7, 9, &[]);
        check(0, 99, &[2, 6, 9]);
        check(12, 99, &[]);
    }
}
