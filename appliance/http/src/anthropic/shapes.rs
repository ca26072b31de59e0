//! The objects of Anthropic's answers, as they are written and as `/openapi.json` describes them.
//!
//! Next: `answer.rs`.

use gimbal_engine::Usage;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::openai::Block;

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Message<'a> {
    pub(super) id: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) role: &'static str,
    pub(super) model: &'a str,
    pub(super) content: Vec<Content<'a>>,
    /// Null at the beginning of a stream.
    #[schema(required = true)]
    pub(super) stop_reason: Option<StopReason>,
    /// The stop sequence that was found.
    #[schema(required = true)]
    pub(super) stop_sequence: Option<&'a str>,
    pub(super) usage: MessageUsage,
}

/// A block of an answer.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Content<'a> {
    /// What the model thought; nobody signs it.
    Thinking {
        thinking: &'a str,
        signature: &'static str,
    },
    Text {
        text: &'a str,
    },
    /// A call; where the answer was cut within it, without arguments.
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Map<String, Value>,
    },
}

impl<'a> From<&'a Block> for Content<'a> {
    fn from(block: &'a Block) -> Self {
        match block {
            Block::Thought(text) => Self::Thinking { thinking: text, signature: "" },
            Block::Text(text) => Self::Text { text },
            Block::Call { id, name, arguments } => {
                let input = serde_json::from_str(arguments).unwrap_or_default();
                Self::ToolUse { id, name, input }
            }
        }
    }
}

impl Content<'_> {
    /// The same block before anything of it came.
    pub(super) fn emptied(self) -> Self {
        match self {
            Self::Thinking { signature, .. } => Self::Thinking { thinking: "", signature },
            Self::Text { .. } => Self::Text { text: "" },
            Self::ToolUse { id, name, .. } => Self::ToolUse { id, name, input: Map::new() },
        }
    }
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StopReason {
    EndTurn,
    MaxTokens,
    StopSequence,
    ToolUse,
}

/// What an answer cost. The prompt has `input_tokens` and `cache_read_input_tokens` together.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct MessageUsage {
    input_tokens: u32,
    cache_creation_input_tokens: u32,
    cache_read_input_tokens: u32,
    output_tokens: u32,
    output_tokens_details: OutputDetails,
}

/// What of an answer nobody reads.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct OutputDetails {
    thinking_tokens: u32,
}

impl MessageUsage {
    pub(super) fn new(usage: Usage, thinking_tokens: u32) -> Self {
        Self {
            input_tokens: usage.prompt_tokens.saturating_sub(usage.cached_tokens),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputDetails { thinking_tokens },
        }
    }
}

/// How long a prompt is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokensCount {
    pub(super) input_tokens: usize,
}
