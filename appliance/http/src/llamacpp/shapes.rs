//! The objects of llama.cpp's answers, as they are written and as `/openapi.json` describes them.
//!
//! Next: `answer.rs`.

use std::time::Duration;

use gimbal_engine::{SampleParams, Usage};
use serde::Serialize;
use utoipa::ToSchema;

/// An answer, or the end of a stream; pieces of a stream have only the first members.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LlamaCompletion<'a> {
    pub(super) index: usize,
    pub(super) content: &'a str,
    pub(super) tokens: Vec<u32>,
    pub(super) id_slot: i32,
    pub(super) stop: bool,
    pub(super) tokens_predicted: u32,
    pub(super) tokens_evaluated: u32,
    #[serde(flatten)]
    pub(super) end: Option<LlamaEnd<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) completion_probabilities: Vec<LlamaProbabilities<'a>>,
}

/// What is known at the end.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LlamaEnd<'a> {
    pub(super) model: &'a str,
    pub(super) generation_settings: LlamaSettings<'a>,
    pub(super) prompt: &'a str,
    pub(super) has_new_line: bool,
    pub(super) truncated: bool,
    pub(super) stop_type: StopType,
    pub(super) stopping_word: &'a str,
    pub(super) tokens_cached: u32,
    pub(super) timings: LlamaTimings,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StopType {
    Eos,
    Limit,
    Word,
}

/// How the answer was sampled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LlamaSettings<'a> {
    /// -1 is any.
    pub(super) seed: i64,
    pub(super) temperature: f32,
    pub(super) top_k: u32,
    pub(super) top_p: f32,
    pub(super) min_p: f32,
    pub(super) presence_penalty: f32,
    pub(super) frequency_penalty: f32,
    pub(super) stop: &'a [String],
    pub(super) n_predict: i64,
    pub(super) n_probs: u8,
}

impl<'a> LlamaSettings<'a> {
    pub(super) fn of(params: &SampleParams, seed: i64, stop: &'a [String], n_predict: i64) -> Self {
        Self {
            seed,
            temperature: params.temperature,
            top_k: params.top_k,
            top_p: params.top_p,
            min_p: params.min_p,
            presence_penalty: params.presence_penalty,
            frequency_penalty: params.frequency_penalty,
            stop,
            n_predict,
            n_probs: params.logprobs.unwrap_or(0),
        }
    }
}

/// How long an answer took, in milliseconds, with its counts of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct LlamaTimings {
    cache_n: u32,
    prompt_n: u32,
    prompt_ms: f64,
    prompt_per_token_ms: f64,
    prompt_per_second: f64,
    predicted_n: u32,
    predicted_ms: f64,
    predicted_per_token_ms: f64,
    predicted_per_second: f64,
}

impl LlamaTimings {
    /// Of answers that cost so much together, and took so long.
    pub(super) fn of(cost: Usage, took: Duration) -> Self {
        let prompt = cost.first_token.unwrap_or(took).min(took);
        let rates = |tokens: u32, time: Duration| {
            let (tokens, ms) = (f64::from(tokens.max(1)), time.as_secs_f64() * 1e3);
            (ms, ms / tokens, tokens * 1e3 / ms.max(1e-3))
        };
        let prompt_n = cost.prompt_tokens.saturating_sub(cost.cached_tokens);
        let (prompt_ms, prompt_per_token_ms, prompt_per_second) = rates(prompt_n, prompt);
        let (predicted_ms, predicted_per_token_ms, predicted_per_second) =
            rates(cost.completion_tokens, took - prompt);
        Self {
            cache_n: cost.cached_tokens,
            prompt_n,
            prompt_ms,
            prompt_per_token_ms,
            prompt_per_second,
            predicted_n: cost.completion_tokens,
            predicted_ms,
            predicted_per_token_ms,
            predicted_per_second,
        }
    }
}

/// How probable a token was, and others.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LlamaProbabilities<'a> {
    #[serde(flatten)]
    pub(super) token: LlamaToken<'a>,
    pub(super) top_logprobs: Vec<LlamaToken<'a>>,
}

/// A token and its log probability.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LlamaToken<'a> {
    pub(super) id: u32,
    pub(super) token: String,
    pub(super) bytes: &'a [u8],
    pub(super) logprob: f32,
}
