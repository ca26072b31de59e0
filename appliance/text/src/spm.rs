//! SentencePiece BPE: a whole text to token ids, by merging neighbours whose concatenation is the
//! token of the best score.
//!
//! Control tokens are cut out elsewhere (`specials.rs`) and never made here. Next: `unigram.rs`.
//!
//! **Source**: llama.cpp, `llm_tokenizer_spm`. Unlike it, no control, byte or unused token comes
//! from text that spells its name.

use std::collections::HashMap;

use crate::data::{byte_token, kind};
use crate::hash::Seeded;
use crate::merge::{NONE, Scratch};
use crate::{TextError, TokenizerData};

/// Stands for a blank in such vocabularies.
pub(crate) const SPACE: &str = "\u{2581}";

/// The vocabulary by score.
#[derive(Debug)]
pub(crate) struct Spm {
    /// Text of a token to (rank, token); the best score has the lowest rank.
    pieces: HashMap<Box<str>, (u32, u32), Seeded>,
    piece_bytes_max: u32,
    /// Token of each byte; `NONE` where there is none.
    bytes: Box<[u32; 256]>,
    unknown: Option<u32>,
    add_space_prefix: bool,
}

impl Spm {
    pub(crate) fn new(data: &TokenizerData) -> Self {
        let mut scored: Vec<_> = data.scored().collect();
        scored.sort_by(|(_, _, a), (_, _, b)| b.total_cmp(a));
        let (mut pieces, mut piece_bytes_max) = (HashMap::default(), 0);
        let (mut rank, mut score_before) = (0, f32::INFINITY);
        for (id, text, score) in scored {
            rank += u32::from(score < score_before);
            score_before = score;
            piece_bytes_max = piece_bytes_max.max(text.len());
            // Of two tokens with one text the later one counts, as in llama.cpp.
            let piece = pieces.entry(text.into()).or_insert((rank, id));
            if piece.1 < id {
                *piece = (rank, id);
            }
        }
        let mut bytes = Box::new([NONE; 256]);
        for (id, token) in (0_u32..).zip(&data.tokens) {
            if let Some(byte) = byte_token(token).filter(|_| data.kind_of(id) == kind::BYTE) {
                bytes[usize::from(byte)] = id;
            }
        }
        let piece_bytes_max = u32::try_from(piece_bytes_max).unwrap_or(u32::MAX);
        let (unknown, add_space_prefix) = (data.unk, data.add_space_prefix);
        Self { pieces, piece_bytes_max, bytes, unknown, add_space_prefix }
    }

    /// Appends the tokens of a text between two special tokens. A character without a token becomes
    /// its bytes, else the unknown token, or nothing where the model has none.
    ///
    /// # Errors
    /// The text is longer than 4 GiB.
    pub(crate) fn encode(
        &self,
        text: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        let prefix = if self.add_space_prefix { SPACE } else { "" };
        let text = prefix.to_owned() + &text.replace(' ', SPACE);
        if u32::try_from(text.len()).is_err() {
            return Err(TextError::Text { why: "it is longer than 4 GiB".into() });
        }
        let piece = |start: u32, end: u32| self.pieces.get(&text[start as usize..end as usize]);
        scratch.clear();
        let mut start = 0;
        for character in text.split_inclusive(|_| true) {
            let end = start + u32::try_from(character.len()).unwrap_or(0);
            scratch.push(piece(start, end).map_or(NONE, |(_, id)| *id), start, end);
            start = end;
        }
        let merged = scratch.merge(|a, b| {
            let short = b.end - a.start <= self.piece_bytes_max;
            short.then(|| piece(a.start, b.end).copied()).flatten()
        });
        for symbol in merged {
            if symbol.id != NONE {
                ids.push(symbol.id);
                continue;
            }
            let bytes = &text.as_bytes()[symbol.start as usize..symbol.end as usize];
            let known = bytes.iter().map(|b| self.bytes[usize::from(*b)]);
            if known.clone().all(|id| id != NONE) {
                ids.extend(known);
            } else {
                ids.extend(self.unknown);
            }
        }
        Ok(())
    }
}
