//! The objects of responses, as they are written and as `/openapi.json` describes them.
//!
//! Next: `events.rs`.

use gimbal_engine::Usage;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A response.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Response)]
pub(crate) struct ResponseObject<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created_at: u64,
    /// When it was complete.
    #[schema(required = true)]
    pub(super) completed_at: Option<u64>,
    pub(super) status: State,
    /// Why it failed.
    #[schema(required = true)]
    pub(super) error: Option<Failure<'a>>,
    #[schema(required = true)]
    pub(super) incomplete_details: Option<Incomplete>,
    pub(super) model: &'a str,
    pub(super) output: Vec<Item<'a>>,
    /// Null until it is known.
    #[schema(required = true)]
    pub(super) usage: Option<ResponseUsage>,
    /// What was asked for.
    #[serde(flatten)]
    pub(super) echo: &'a Echo,
}

/// What a response repeats of its request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Echo {
    pub(super) background: bool,
    #[schema(required = true)]
    pub(super) instructions: Option<String>,
    #[schema(required = true)]
    pub(super) max_output_tokens: Option<u32>,
    #[schema(value_type = Object)]
    pub(super) metadata: Value,
    pub(super) parallel_tool_calls: bool,
    #[schema(required = true)]
    pub(super) previous_response_id: Option<String>,
    #[schema(value_type = Object)]
    pub(super) reasoning: Value,
    pub(super) service_tier: &'static str,
    /// Whether later requests may refer to it.
    pub(super) store: bool,
    pub(super) temperature: f32,
    #[schema(value_type = Object)]
    pub(super) text: Value,
    /// A word, or an object that names a function.
    pub(super) tool_choice: Value,
    #[schema(value_type = Vec<Object>)]
    pub(super) tools: Vec<Value>,
    pub(super) top_logprobs: u8,
    pub(super) top_p: f32,
    pub(super) truncation: &'static str,
    #[schema(required = true)]
    pub(super) user: Option<String>,
}

/// How far a response or an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ResponseState)]
pub(crate) enum State {
    InProgress,
    Completed,
    Incomplete,
    Failed,
}

/// Why a response failed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = ResponseFailure)]
pub(crate) struct Failure<'a> {
    pub(super) code: &'static str,
    pub(super) message: &'a str,
}

/// Why a response ends too early.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Incomplete {
    pub(super) reason: &'static str,
}

/// An item of a response's output.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = OutputItem)]
pub(crate) enum Item<'a> {
    Message {
        id: String,
        status: State,
        role: &'static str,
        content: Vec<Part<'a>>,
    },
    /// A call; its arguments are a text of JSON.
    FunctionCall {
        id: String,
        status: State,
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    /// What the model thought.
    Reasoning {
        id: String,
        status: State,
        #[schema(value_type = Vec<Object>)]
        summary: [(); 0],
        content: Vec<Part<'a>>,
    },
}

/// A part of an item.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = OutputPart)]
pub(crate) enum Part<'a> {
    OutputText {
        text: &'a str,
        #[schema(value_type = Vec<Object>)]
        annotations: [(); 0],
        /// Where they were asked for.
        #[schema(value_type = Vec<Object>)]
        logprobs: &'a [Value],
    },
    ReasoningText {
        text: &'a str,
    },
}

/// What a response cost.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct ResponseUsage {
    input_tokens: u32,
    input_tokens_details: InputDetails,
    output_tokens: u32,
    output_tokens_details: ReasoningDetails,
    total_tokens: u32,
}

/// What of the input was known before. What was not is, from now on, and costs no more.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct InputDetails {
    cached_tokens: u32,
    cache_write_tokens: u32,
}

/// What of the output are thoughts.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct ReasoningDetails {
    reasoning_tokens: u32,
}

impl ResponseUsage {
    pub(super) fn new(usage: Usage, reasoning_tokens: u32) -> Self {
        let Usage { prompt_tokens, completion_tokens, cached_tokens, .. } = usage;
        Self {
            input_tokens: prompt_tokens,
            input_tokens_details: InputDetails { cached_tokens, cache_write_tokens: 0 },
            output_tokens: completion_tokens,
            output_tokens_details: ReasoningDetails { reasoning_tokens },
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
        }
    }
}

/// A response that is forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deleted<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) deleted: bool,
}

/// The items that a response answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InputItems {
    pub(super) object: &'static str,
    #[schema(value_type = Vec<Object>)]
    pub(super) data: Vec<Value>,
    #[schema(required = true)]
    pub(super) first_id: Option<String>,
    #[schema(required = true)]
    pub(super) last_id: Option<String>,
    pub(super) has_more: bool,
}
