//! How the next token of a sequence is chosen.
//!
//! The sampler itself is in the hal. Next: `step.rs`.

use std::sync::Arc;

use crate::token::TokenId;

/// Sampling parameters of one sequence; `Default` is greedy.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleParams {
    /// 0 is greedy; otherwise logits are divided by it.
    pub temperature: f32,
    /// Keeps the most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keeps the smallest set whose probability reaches it; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens less probable than this share of the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides (positive) or multiplies (negative) logits of tokens seen in prompt or output.
    pub repetition_penalty: f32,
    /// Subtracted once from logits of tokens seen in the output.
    pub presence_penalty: f32,
    /// Subtracted from logits of tokens in the output, once per occurrence.
    pub frequency_penalty: f32,
    /// With the position, decides all noise: equal seeds give equal tokens.
    pub seed: u64,
    /// Alternatives to report with each token; `None` reports none and the token's own logprob
    /// may be left 0.
    pub logprobs: Option<u8>,
    /// Reported instead of the most probable alternatives, in this order, where `logprobs` are.
    pub logprob_ids: Arc<[TokenId]>,
    /// Tokens of output before which none of `ends` is chosen.
    pub min_tokens: u32,
    /// Tokens that end an output; empty where `min_tokens` is 0.
    pub ends: Arc<[TokenId]>,
}

impl Default for SampleParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
            logprobs: None,
            logprob_ids: Arc::default(),
            min_tokens: 0,
            ends: Arc::default(),
        }
    }
}

impl SampleParams {
    /// True when the most probable token is always taken.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// True when earlier tokens change the logits.
    #[must_use]
    pub fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
    }
}

/// Tokens a grammar allows: bit `t % 32` of word `t / 32` is set when token `t` is allowed.
/// Tokens past the last word are not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMask(pub Arc<[u32]>);

impl TokenMask {
    /// True when `token` may be chosen.
    #[must_use]
    pub fn allows(&self, token: TokenId) -> bool {
        let word = self.0.get(token.index() / 32);
        word.is_some_and(|word| word >> (token.get() % 32) & 1 == 1)
    }
}
