//! Byte-level BPE: one word's bytes to token ids, by merging the lowest-ranked pair first.
//!
//! The alphabet is bytes, not the printable stand-ins that vocabularies are written in; those are
//! translated once, at construction. Words are cut elsewhere (`pre.rs`). Next: `tokenizer.rs`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::TextError;
use crate::hash::Seeded;

/// Marks a symbol that was merged into its left neighbour, and both ends of the chain.
const NONE: u32 = u32::MAX;

/// Both tokens of a pair in one word.
fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The merge table.
#[derive(Debug)]
pub(crate) struct Bpe {
    /// Token of each byte; `NONE` where there is none.
    bytes: Box<[u32; 256]>,
    /// Pair of tokens to (rank, merged token); a lower rank goes first.
    merges: HashMap<u64, (u32, u32), Seeded>,
    /// Whole words that are tokens; empty where merges decide alone.
    words: HashMap<Box<[u8]>, u32, Seeded>,
    /// Stands for a byte without a token.
    unknown: Option<u32>,
}

/// Memory of one encoding, reused from word to word.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Candidate>>,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    id: u32,
    previous: u32,
    next: u32,
}

/// A pair that could be merged. The order of the fields is the order of merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    pair: (u32, u32),
    merged: u32,
}

impl Bpe {
    /// Builds the table from merges written as `left right`, in order of rank. `vocabulary` gives
    /// the id of a token's bytes; `decode` appends the bytes of a token's written form.
    ///
    /// # Errors
    /// A merge is not two known tokens whose concatenation is a known token.
    pub(crate) fn new(
        vocabulary: &HashMap<&[u8], u32, Seeded>,
        merges: &[String],
        decode: impl Fn(&str, &mut Vec<u8>),
        ignore_merges: bool,
        unknown: Option<u32>,
    ) -> Result<Self, TextError> {
        let mut table = HashMap::with_capacity_and_hasher(merges.len(), Seeded::default());
        let mut both = Vec::new();
        for (rank, merge) in (0_u32..).zip(merges) {
            let broken = |what: &str| TextError::Tokenizer {
                why: format!("merge {rank} ({merge:?}): {what}"),
            };
            let (left, right) = merge.split_once(' ').ok_or_else(|| broken("no space"))?;
            both.clear();
            decode(left, &mut both);
            let middle = both.len();
            decode(right, &mut both);
            let known = |bytes: &[u8]| {
                let id = vocabulary.get(bytes).copied();
                id.ok_or_else(|| broken("not made of tokens of the vocabulary"))
            };
            let pair = key(known(&both[..middle])?, known(&both[middle..])?);
            let merged = known(&both)?;
            table.entry(pair).or_insert((rank, merged));
        }
        let mut bytes = Box::new([NONE; 256]);
        for (byte, id) in (0_u8..=255).zip(bytes.iter_mut()) {
            *id = vocabulary.get([byte].as_slice()).copied().unwrap_or(NONE);
        }
        let words = vocabulary.iter().filter(|_| ignore_merges);
        let words = words.map(|(word, id)| (Box::from(*word), *id)).collect();
        Ok(Self { bytes, merges: table, words, unknown })
    }

    /// Appends the tokens of one word. A byte without a token becomes the unknown token, or
    /// nothing where the model has none (as its peers do).
    pub(crate) fn encode(&self, word: &[u8], scratch: &mut Scratch, ids: &mut Vec<u32>) {
        if let Some(id) = self.words.get(word) {
            ids.push(*id);
            return;
        }
        let Scratch { symbols, queue } = scratch;
        symbols.clear();
        queue.clear();
        let known = word.iter().map(|b| self.bytes[usize::from(*b)]);
        let known = known.map(|id| if id == NONE { self.unknown.unwrap_or(NONE) } else { id });
        for (i, id) in (0_u32..).zip(known.filter(|id| *id != NONE)) {
            symbols.push(Symbol { id, previous: i.wrapping_sub(1), next: i + 1 });
        }
        let Some(last) = symbols.last_mut() else { return };
        last.next = NONE;
        for left in (0_u32..).take(symbols.len() - 1) {
            self.consider(symbols, left, queue);
        }
        while let Some(Reverse(candidate)) = queue.pop() {
            self.merge(candidate, symbols, queue);
        }
        ids.extend(symbols.iter().map(|s| s.id).filter(|id| *id != NONE));
    }

    fn consider(&self, symbols: &[Symbol], left: u32, queue: &mut BinaryHeap<Reverse<Candidate>>) {
        let first = symbols[left as usize];
        if first.next == NONE {
            return;
        }
        let pair = (first.id, symbols[first.next as usize].id);
        if let Some(&(rank, merged)) = self.merges.get(&key(pair.0, pair.1)) {
            queue.push(Reverse(Candidate { rank, left, pair, merged }));
        }
    }

    /// Merges a pair, unless one of its halves has changed since it was queued.
    fn merge(
        &self,
        candidate: Candidate,
        symbols: &mut [Symbol],
        queue: &mut BinaryHeap<Reverse<Candidate>>,
    ) {
        let Symbol { id, previous, next } = symbols[candidate.left as usize];
        if next == NONE || (id, symbols[next as usize].id) != candidate.pair {
            return;
        }
        let after = symbols[next as usize].next;
        symbols[next as usize] = Symbol { id: NONE, previous: NONE, next: NONE };
        symbols[candidate.left as usize] = Symbol { id: candidate.merged, previous, next: after };
        if after != NONE {
            symbols[after as usize].previous = candidate.left;
        }
        self.consider(symbols, candidate.left, queue);
        if previous != NONE {
            self.consider(symbols, previous, queue);
        }
    }
}
