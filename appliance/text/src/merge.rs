//! Merging neighbours, the best pair first: the engine of both kinds of BPE.
//!
//! Which pairs there are is the caller's. Next: `bpe.rs`, `spm.rs`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No token, no neighbour.
pub(crate) const NONE: u32 = u32::MAX;

/// Memory of one encoding, reused from word to word.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Candidate>>,
}

/// A stretch of the text and its token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol {
    /// `NONE` where the stretch is not a token.
    pub(crate) id: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
    previous: u32,
    /// `NONE` for the last one and for those merged into their left neighbour.
    next: u32,
}

/// A pair that could be merged. The order of the fields is the order of merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    /// Where the right half ends: tells whether either half has changed since.
    end: u32,
    merged: u32,
}

impl Scratch {
    /// Begins a text.
    pub(crate) fn clear(&mut self) {
        self.symbols.clear();
        self.queue.clear();
    }

    /// Appends a stretch `start..end` to the text.
    pub(crate) fn push(&mut self, id: u32, start: u32, end: u32) {
        let count = u32::try_from(self.symbols.len()).unwrap_or(NONE);
        if let Some(last) = self.symbols.last_mut() {
            last.next = count;
        }
        self.symbols.push(Symbol { id, start, end, previous: count.wrapping_sub(1), next: NONE });
    }

    /// Merges while `find` knows a pair, lowest rank first, leftmost first among equals; `find`
    /// returns the rank and the merged token. Returns what is left, in order.
    pub(crate) fn merge(
        &mut self,
        find: impl Fn(&Symbol, &Symbol) -> Option<(u32, u32)>,
    ) -> impl Iterator<Item = Symbol> {
        let Self { symbols, queue } = self;
        let consider = |symbols: &[Symbol], left: u32, queue: &mut BinaryHeap<_>| {
            let first = &symbols[left as usize];
            let Some(second) = symbols.get(first.next as usize) else { return };
            if let Some((rank, merged)) = find(first, second) {
                queue.push(Reverse(Candidate { rank, left, end: second.end, merged }));
            }
        };
        for left in (0_u32..).take(symbols.len()) {
            consider(symbols, left, queue);
        }
        while let Some(Reverse(Candidate { left, end, merged, .. })) = queue.pop() {
            let next = symbols[left as usize].next;
            let Some(second) = symbols.get_mut(next as usize).filter(|s| s.end == end) else {
                continue;
            };
            let after = second.next;
            (second.next, second.start) = (NONE, end);
            let first = &mut symbols[left as usize];
            (first.id, first.end, first.next) = (merged, end, after);
            let previous = first.previous;
            if let Some(after) = symbols.get_mut(after as usize) {
                after.previous = left;
            }
            consider(symbols, left, queue);
            if previous != NONE {
                consider(symbols, previous, queue);
            }
        }
        symbols.iter().copied().filter(|s| s.start != s.end)
    }
}
