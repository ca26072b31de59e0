//! The objects of Ollama's answers, as they are written and as `/openapi.json` describes them.
//!
//! Next: `answer.rs`.

use std::time::Duration;

use gimbal_engine::{FinishReason, Usage};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// An answer of `/api/chat`, or a piece of one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaChat<'a> {
    pub(super) model: &'a str,
    pub(super) created_at: &'a str,
    pub(super) message: OllamaMessage<'a>,
    #[serde(flatten)]
    pub(super) end: End,
}

/// What the assistant says.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct OllamaMessage<'a> {
    pub(super) role: Assistant,
    pub(super) content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) thinking: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<OllamaCall<'a>>,
}

/// Who speaks.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Assistant {
    #[default]
    Assistant,
}

/// A call of a tool.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaCall<'a> {
    pub(super) id: &'a str,
    pub(super) function: OllamaFunction<'a>,
}

/// Which, and with what.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaFunction<'a> {
    pub(super) index: usize,
    pub(super) name: &'a str,
    pub(super) arguments: Map<String, Value>,
}

/// An answer of `/api/generate`, or a piece of one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaText<'a> {
    pub(super) model: &'a str,
    pub(super) created_at: &'a str,
    pub(super) response: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) thinking: &'a str,
    #[serde(flatten)]
    pub(super) end: End,
}

/// Whether it is the end, and what it cost; times are nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct End {
    pub(super) done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) done_reason: Option<&'static str>,
    #[serde(flatten)]
    pub(super) cost: Option<EndCost>,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct EndCost {
    total_duration: u64,
    /// The model was loaded before.
    load_duration: u64,
    prompt_eval_count: u32,
    prompt_eval_duration: u64,
    eval_count: u32,
    eval_duration: u64,
}

impl End {
    /// The end of an answer that took so long.
    pub(super) fn of(finish: &FinishReason, cost: Usage, took: Duration) -> Self {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let prompt = cost.first_token.unwrap_or(took).min(took);
        let done_reason = if matches!(finish, FinishReason::Length) { "length" } else { "stop" };
        Self {
            done: true,
            done_reason: Some(done_reason),
            cost: Some(EndCost {
                total_duration: nanoseconds(took),
                load_duration: 0,
                prompt_eval_count: cost.prompt_tokens,
                prompt_eval_duration: nanoseconds(prompt),
                eval_count: cost.completion_tokens,
                eval_duration: nanoseconds(took - prompt),
            }),
        }
    }

    /// Nothing was asked but whether the model is there.
    pub(super) fn loaded() -> Self {
        Self { done: true, done_reason: Some("load"), cost: None }
    }
}
