//! The unigram model: a whole text to the token ids whose scores have the greatest sum.
//!
//! Control tokens are cut out elsewhere (`specials.rs`) and never made here. Next: `json.rs`.
//!
//! **Source**: llama.cpp, `llm_tokenizer_ugm`. Unlike it, an unused token does not come from text
//! that spells its name.

use std::collections::HashMap;

use crate::charsmap::Charsmap;
use crate::data::kind;
use crate::hash::Seeded;
use crate::spm::SPACE;
use crate::{TextError, TokenizerData};

/// How much worse than the worst token an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The vocabulary and its normaliser.
#[derive(Debug)]
pub(crate) struct Unigram {
    charsmap: Charsmap,
    /// Node of the trie and byte to node; the root is 0.
    edges: HashMap<u64, u32, Seeded>,
    /// The token that ends at a node, with its score.
    ends: Vec<Option<(u32, f64)>>,
    unknown: Option<u32>,
    unknown_score: f64,
    add_space_prefix: bool,
    remove_extra_whitespaces: bool,
}

/// The best way to a place in the text.
#[derive(Clone, Copy)]
struct Best {
    /// The last token; `None` is the unknown one.
    token: Option<u32>,
    start: usize,
    score: f64,
}

impl Unigram {
    /// # Errors
    /// The normaliser is broken.
    pub(crate) fn new(data: &TokenizerData) -> Result<Self, TextError> {
        let (mut edges, mut ends) = (HashMap::default(), vec![None]);
        let mut worst = f32::MAX;
        for (id, text, score) in data.scored() {
            let is_normal = data.kind_of(id) == kind::NORMAL;
            worst = if is_normal { worst.min(score) } else { worst };
            let node = text.bytes().fold(0, |node, byte| {
                let next = u32::try_from(ends.len()).unwrap_or(u32::MAX);
                let next = *edges.entry(edge(node, byte)).or_insert(next);
                ends.resize(ends.len().max(next as usize + 1), None);
                next
            });
            // A user-defined token is preferred: the scores of others are negative.
            let score = if is_normal { f64::from(score) } else { 0.0 };
            ends[node as usize] = Some((id, score));
        }
        Ok(Self {
            charsmap: Charsmap::new(&data.charsmap)?,
            edges,
            ends,
            unknown: data.unk,
            unknown_score: f64::from(worst - UNKNOWN_PENALTY),
            add_space_prefix: data.add_space_prefix,
            remove_extra_whitespaces: data.remove_extra_whitespaces,
        })
    }

    /// Appends the tokens of a text between two special tokens. Neighbouring unknown characters
    /// become one unknown token, or nothing where the model has none.
    pub(crate) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let text = self.normalise(text);
        let none = Best { token: None, start: 0, score: f64::MIN };
        let mut best = vec![none; text.len() + 1];
        best[0].score = 0.0;
        for (start, c) in text.char_indices() {
            let score = best[start].score;
            let mut improve = |length: usize, token, by: f64| {
                let place = &mut best[start + length];
                if score + by > place.score {
                    *place = Best { token, start, score: score + by };
                }
            };
            let (mut node, mut is_known) = (0, false);
            for (length, byte) in (1..).zip(text[start..].bytes()) {
                let Some(next) = self.edges.get(&edge(node, byte)) else { break };
                node = *next;
                if let Some((id, score)) = self.ends[node as usize] {
                    is_known |= length == c.len_utf8();
                    improve(length, Some(id), score);
                }
            }
            if !is_known {
                improve(c.len_utf8(), None, self.unknown_score);
            }
        }
        let (from, mut end, mut is_after_unknown) = (ids.len(), text.len(), false);
        while end > 0 {
            let Best { token, start, .. } = best[end];
            if token.is_some() || !is_after_unknown {
                ids.extend(token.or(self.unknown));
            }
            (end, is_after_unknown) = (start, token.is_none());
        }
        ids[from..].reverse();
    }

    fn normalise(&self, text: &str) -> String {
        let mut normal = String::with_capacity(text.len() * 3 / 2 + 3);
        let (mut is_in_word, mut is_begun) = (false, false);
        let mut push = |c: char| {
            if c == ' ' {
                is_in_word = false;
                normal.push_str(if self.remove_extra_whitespaces { "" } else { SPACE });
                return;
            }
            let is_first = !std::mem::replace(&mut is_in_word, true);
            if is_first && (self.remove_extra_whitespaces || !is_begun && self.add_space_prefix) {
                normal.push_str(SPACE);
            }
            is_begun = true;
            normal.push(c);
        };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let replaced = self.charsmap.replacement(rest);
            rest = &rest[replaced.map_or(c.len_utf8(), |(length, _)| length)..];
            match replaced {
                Some((_, becomes)) => becomes.chars().for_each(&mut push),
                None => push(c),
            }
        }
        normal
    }
}

/// A node and the byte that leads on from it, in one word.
fn edge(node: u32, byte: u8) -> u64 {
    u64::from(node) << 8 | u64::from(byte)
}
