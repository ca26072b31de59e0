//! The objects of answers in LMI's schema, as they are written and as `/openapi.json` describes them.
//!
//! Next: `response.rs`.

use serde::Serialize;
use utoipa::ToSchema;

/// A whole answer to one input.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LmiAnswer<'a> {
    pub(super) generated_text: String,
    /// Where it was asked for, or there are several continuations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<LmiDetails<'a>>,
}

/// What is known of a continuation, in LMI's order; what only we have comes after.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LmiDetails<'a> {
    /// `length`, `eos_token` or `stop_sequence`.
    pub(super) finish_reason: &'static str,
    pub(super) generated_tokens: usize,
    /// What decided all randomness, also where nobody chose it.
    pub(super) seed: i64,
    /// The prompt's tokens, where they were asked for.
    pub(super) prefill: Vec<LmiToken<'a>>,
    pub(super) tokens: Vec<LmiToken<'a>>,
    /// Alternatives to each token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_tokens: Option<Vec<Vec<LmiToken<'a>>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inputs: Option<&'a str>,
    /// The other continuations.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub(super) best_of_sequences: Option<Vec<LmiSequence<'a>>>,
}

/// One of several continuations.
#[derive(Debug, Serialize)]
pub(crate) struct LmiSequence<'a> {
    pub(super) generated_text: String,
    #[serde(flatten)]
    pub(super) details: LmiDetails<'a>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LmiToken<'a> {
    pub(super) id: u32,
    #[schema(value_type = String)]
    pub(super) text: std::borrow::Cow<'a, str>,
    /// Its name since v17 of LMI, and TGI's; null of the prompt's own.
    #[schema(required = true)]
    pub(super) logprob: Option<f32>,
    /// Its name before.
    #[schema(required = true)]
    pub(super) log_prob: Option<f32>,
    /// With `tgi_compat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) special: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) special_token: Option<bool>,
}

/// What a line of a stream tells.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LmiLine<'a> {
    /// TGI counts tokens, LMI choices.
    pub(super) index: u32,
    pub(super) token: LineToken<'a>,
    /// The whole text, at the end.
    #[schema(required = true)]
    pub(super) generated_text: Option<String>,
    #[schema(required = true)]
    pub(super) details: Option<LineDetails<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_tokens: Option<Vec<LmiToken<'a>>>,
    /// The status of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// The token of a line, or what LMI writes where there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum LineToken<'a> {
    Token(LmiToken<'a>),
    None(NoToken<'a>),
}

/// A line without a token: text that comes after the last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoToken<'a> {
    id: i8,
    text: &'a str,
    logprob: i8,
    log_prob: i8,
    special_token: bool,
}

impl<'a> NoToken<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { id: -1, text, logprob: -1, log_prob: -1, special_token: true }
    }
}

/// What the last line of a choice tells.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineDetails<'a> {
    pub(super) finish_reason: &'static str,
    pub(super) seed: i64,
    pub(super) generated_tokens: u32,
    pub(super) input_length: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inputs: Option<&'a str>,
}
