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

/// Whether it is the end, and what it cost then; times are nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct End {
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_duration: Option<u64>,
    /// The model was loaded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_duration: Option<u64>,
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
            total_duration: Some(nanoseconds(took)),
            load_duration: Some(0),
            prompt_eval_count: Some(cost.prompt_tokens),
            prompt_eval_duration: Some(nanoseconds(prompt)),
            eval_count: Some(cost.completion_tokens),
            eval_duration: Some(nanoseconds(took - prompt)),
        }
    }

    /// Nothing was asked but whether the model is there.
    pub(super) fn loaded() -> Self {
        Self { done: true, done_reason: Some("load"), ..Self::default() }
    }
}
