//! What rows draw by, as `kernels/sample.cu` reads it.
//!
//! Nothing is chosen here, and no history kept: that is the hal's sampler. Next: `step.rs`.

use std::collections::BTreeMap;

use gimbal_batch::{SampleParams, TokenId, TokenMask};

use crate::launch::Draw;

/// Rows' parameters and what they point at, in words.
#[derive(Debug, Default)]
pub(crate) struct Draws {
    pub(crate) draws: Vec<u32>,
    pub(crate) seen: Vec<u32>,
    pub(crate) ends: Vec<u32>,
    pub(crate) masks: Vec<u32>,
}

impl Draws {
    /// A row behind `history`, the first `prompt` tokens of which are no output.
    pub(crate) fn add(
        &mut self,
        params: &SampleParams,
        (history, prompt): (&[TokenId], usize),
        mask: Option<&TokenMask>,
    ) {
        let first = |words: &Vec<u32>| small(words.len());
        let (seen, ends, masks) = (first(&self.seen) / 2, first(&self.ends), first(&self.masks));
        if params.has_penalties() {
            let mut counts = BTreeMap::new();
            for (i, id) in history.iter().enumerate() {
                *counts.entry(id.get()).or_default() += u32::from(i >= prompt);
            }
            self.seen.extend(counts.into_iter().flat_map(|(id, count): (u32, u32)| [id, count]));
        }
        if history.len().saturating_sub(prompt) < params.min_tokens as usize {
            self.ends.extend(params.ends.iter().map(|id| id.get()));
        }
        self.masks.extend(mask.iter().flat_map(|mask| mask.0.iter()));
        let draw = Draw {
            seed: params.seed,
            position: small(history.len().saturating_sub(1)),
            temperature: params.temperature,
            top_k: params.top_k,
            top_p: params.top_p,
            least: if params.min_p > 0.0 { params.min_p.ln() } else { f32::NEG_INFINITY },
            repetition: params.repetition_penalty,
            presence: params.presence_penalty,
            frequency: params.frequency_penalty,
            seen: [seen, first(&self.seen) / 2 - seen],
            ends: [ends, first(&self.ends) - ends],
            mask: mask.map(|_| [masks, first(&self.masks) - masks]),
            is_scored: params.logprobs.is_some(),
        };
        self.draws.extend(draw.words());
    }
}

/// Rows of a step, tokens of a sequence and words of masks are far fewer.
fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
