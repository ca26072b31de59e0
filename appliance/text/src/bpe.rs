//! Byte-level BPE: one word's bytes to token ids, by merging the lowest-ranked pair first.
//!
//! The alphabet is bytes, not the printable stand-ins that vocabularies are written in; those are
//! translated once, at construction. Words are cut elsewhere (`pre.rs`). Next: `merge.rs`.

use std::collections::HashMap;

use crate::TextError;
use crate::hash::Seeded;
use crate::merge::{NONE, Scratch};

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

impl Bpe {
    /// Builds the table from merges written as `left right`, in order of rank. `vocabulary` gives
    /// the id of a token's bytes; `decode` appends the bytes of a token's written form.
    ///
    /// # Errors
    /// A merge is not two known tokens whose concatenation is a known token.
    pub(crate) fn new(
        vocabulary: &HashMap<&[u8], u32, Seeded>,
        merges: &[&str],
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
        scratch.clear();
        let known = word.iter().map(|b| self.bytes[usize::from(*b)]);
        let known = known.map(|id| if id == NONE { self.unknown.unwrap_or(NONE) } else { id });
        for (i, id) in (0_u32..).zip(known.filter(|id| *id != NONE)) {
            scratch.push(id, i, i + 1);
        }
        let merged = scratch.merge(|a, b| self.merges.get(&key(a.id, b.id)).copied());
        ids.extend(merged.map(|symbol| symbol.id));
    }
}
