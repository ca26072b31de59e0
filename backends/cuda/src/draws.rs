//! What rows draw by, as `kernels/sample.cu` reads it.
//!
//! Nothing is chosen here; histories are kept by the hal's sampler, and counted here. Next: `inputs.rs`.

use std::collections::HashMap;

use gimbal_batch::{SampleParams, TokenId, TokenMask};

use crate::launch::Draw;

/// A row whose token is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) params: &'a SampleParams,
    pub(crate) slot: u32,
    /// In its sequence.
    pub(crate) position: u32,
    /// The slot's tokens up to the row; the row's own may be missing, if the device alone knows it.
    pub(crate) history: &'a [TokenId],
    /// How many of them are no output.
    pub(crate) prompt: usize,
    pub(crate) mask: Option<&'a TokenMask>,
    /// Whether its token is the slot's newest; it is not where a guess follows.
    pub(crate) is_newest: bool,
}

/// Rows' parameters and the lists they point at, in words.
#[derive(Debug, Default)]
pub(crate) struct Draws {
    pub(crate) rows: Vec<u32>,
    pub(crate) lists: Vec<u32>,
    /// By slot, of those with penalties.
    seen: HashMap<u32, Seen>,
}

/// How often each token of a history is in the output.
#[derive(Debug, Default)]
struct Seen {
    tokens: Vec<TokenId>,
    prompt: usize,
    /// Of token and count, one behind the other.
    pairs: Vec<u32>,
    /// Where a token's count is.
    places: HashMap<TokenId, usize>,
}

impl Draws {
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.lists.clear();
    }

    pub(crate) fn add(&mut self, row: Row<'_>) {
        let Row { params, slot, position, history, prompt, mask, is_newest } = row;
        let outputs = (position as usize + 1).saturating_sub(prompt);
        let has_penalties = params.has_penalties();
        let seen = list(&mut self.lists, |lists| {
            if has_penalties {
                let seen = self.seen.entry(slot).or_default();
                seen.count(history, prompt);
                lists.extend_from_slice(&seen.pairs);
            }
        });
        let ends = list(&mut self.lists, |lists| {
            if outputs < params.min_tokens as usize {
                lists.extend(params.ends.iter().map(|id| id.get()));
            }
        });
        let words = mask.map_or(&[][..], |mask| &mask.0);
        let words = list(&mut self.lists, |lists| lists.extend_from_slice(words));
        let draw = Draw {
            seed: params.seed,
            position,
            temperature: params.temperature,
            top_k: params.top_k,
            top_p: params.top_p,
            least: if params.min_p > 0.0 { params.min_p.ln() } else { f32::NEG_INFINITY },
            repetition: params.repetition_penalty,
            presence: params.presence_penalty,
            frequency: params.frequency_penalty,
            seen: [seen[0], seen[1] / 2],
            ends,
            mask: mask.map(|_| words),
            is_scored: params.logprobs.is_some(),
            slot: is_newest.then_some(slot),
            adds_newest: has_penalties && history.len() <= position as usize,
        };
        self.rows.extend(draw.words());
    }
}

/// Where a list begins, and its words.
fn list(lists: &mut Vec<u32>, add: impl FnOnce(&mut Vec<u32>)) -> [u32; 2] {
    let first = lists.len();
    add(lists);
    // What is longer than there is room for is not drawn on the device.
    [first, lists.len() - first].map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

impl Seen {
    /// Counts what is new in a history, or all of it where it is another one.
    fn count(&mut self, history: &[TokenId], prompt: usize) {
        if prompt != self.prompt || !history.starts_with(&self.tokens) {
            self.tokens.clear();
            self.pairs.clear();
            self.places.clear();
            self.prompt = prompt;
        }
        for (i, id) in history.iter().enumerate().skip(self.tokens.len()) {
            let at = *self.places.entry(*id).or_insert_with(|| {
                self.pairs.extend([id.get(), 0]);
                self.pairs.len() - 1
            });
            self.pairs[at] += u32::from(i >= prompt);
            self.tokens.push(*id);
        }
    }
}
