//! The objects of OpenAI's answers, as they are written and as `/openapi.json` describes them.
//!
//! Next: `chat.rs`.

use std::borrow::Cow;

use gimbal_engine::{Drafts, FinishReason, Usage};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// What all objects of an answer share, around their choices.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Object<'a, C: ToSchema> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    /// Equal binaries, models and settings have equal ones.
    pub(super) system_fingerprint: &'a str,
    pub(super) choices: Vec<C>,
    /// Absent, null, or known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Cost>, required = true)]
    pub(super) usage: Option<Option<Cost>>,
    /// vLLM's, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<u32>>)]
    pub(super) prompt_token_ids: Option<&'a [u32]>,
    /// Absent, null, or what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    pub(super) prompt_logprobs: Option<Option<PromptLogprobs>>,
}

/// One continuation of a chat, whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatChoice<'a> {
    pub(super) index: usize,
    pub(super) message: ChatMessage<'a>,
    #[schema(required = true)]
    pub(super) logprobs: Option<ChatLogprobs<'a>>,
    pub(super) finish_reason: Finish,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_ids: Option<Vec<u32>>,
}

/// What the assistant says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatMessage<'a> {
    pub(super) role: &'static str,
    /// Null where it only calls.
    #[schema(required = true)]
    pub(super) content: Option<Cow<'a, str>>,
    /// What the model thought before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<String>,
    /// The same by the name that vLLM gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) tool_calls: Vec<ToolCall>,
    /// A call, for who asked with `functions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_call: Option<CalledFunction>,
}

/// A call of a tool, or more of one in a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToolCall {
    /// Which of the answer's calls; in streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    pub(super) function: CalledFunction,
}

/// The function and its arguments.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CalledFunction {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Text of JSON; in streams a part of it.
    pub(super) arguments: String,
}

/// A piece of a continuation of a chat.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatPiece<'a> {
    pub(super) index: u16,
    pub(super) delta: ChatDelta<'a>,
    #[schema(required = true)]
    pub(super) logprobs: Option<ChatLogprobs<'a>>,
    #[schema(required = true)]
    pub(super) finish_reason: Option<Finish>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_ids: Option<Vec<u32>>,
}

/// What a piece adds to the message.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ChatDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<&'a str>,
    /// The same by the name that vLLM gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) tool_calls: Vec<ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_call: Option<CalledFunction>,
}

/// Log probabilities as chats have them: an entry a token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatLogprobs<'a> {
    pub(super) content: Vec<ChatToken<'a>>,
}

/// A token and what might have come in its place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatToken<'a> {
    #[serde(flatten)]
    pub(super) token: ChatEntry<'a>,
    pub(super) top_logprobs: Vec<ChatEntry<'a>>,
}

/// A token with its bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatEntry<'a> {
    pub(super) token: String,
    pub(super) logprob: f32,
    #[schema(value_type = Vec<u8>)]
    pub(super) bytes: &'a [u8],
}

/// One continuation of a prompt, whole or a piece of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextChoice {
    pub(super) index: usize,
    pub(super) text: String,
    #[schema(required = true)]
    pub(super) logprobs: Option<TextLogprobs>,
    /// Null in a stream, until the end.
    #[schema(required = true)]
    pub(super) finish_reason: Option<Finish>,
    /// Absent in a stream; null, or what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    pub(super) prompt_logprobs: Option<Option<PromptLogprobs>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_ids: Option<Vec<u32>>,
    /// As `prompt_logprobs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<u32>>)]
    pub(super) prompt_token_ids: Option<Option<Vec<u32>>>,
}

/// Log probabilities as completions have them: parallel lists.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextLogprobs {
    pub(super) tokens: Vec<String>,
    /// A prompt's first token has none.
    pub(super) token_logprobs: Vec<Option<f32>>,
    /// For each token: itself and the most probable ones by their texts.
    #[schema(value_type = Vec<Option<std::collections::HashMap<String, f32>>>)]
    pub(super) top_logprobs: Vec<Option<Top>>,
    /// Characters of the choice before each token.
    pub(super) text_offset: Vec<usize>,
}

/// Log probabilities by the texts of tokens, in order; of one text the first counts.
#[derive(Debug)]
pub(crate) struct Top<T = f32>(Vec<(String, T)>);

impl<T> Default for Top<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Top<T> {
    pub(super) fn add(&mut self, text: String, told: T) {
        if self.0.iter().all(|(known, _)| *known != text) {
            self.0.push((text, told));
        }
    }
}

/// A token of a prompt as vLLM tells it, by its id.
#[derive(Debug, Serialize)]
pub(crate) struct PromptToken {
    pub(super) logprob: f32,
    pub(super) rank: u64,
    pub(super) decoded_token: String,
}

/// Those of a prompt; the first token has none.
pub(super) type PromptLogprobs = Vec<Option<Top<PromptToken>>>;

impl<T: Serialize> Serialize for Top<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(text, logprob)| (text, logprob)))
    }
}

/// Why an answer ends; what failed is told as an error instead.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finish {
    Stop,
    Length,
    /// It calls tools.
    ToolCalls,
    /// It calls a function, the older way.
    FunctionCall,
}

impl From<&FinishReason> for Finish {
    fn from(finish: &FinishReason) -> Self {
        if matches!(finish, FinishReason::Length) { Self::Length } else { Self::Stop }
    }
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct Cost {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
    prompt_tokens_details: PromptDetails,
    /// There where tokens were guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
}

/// Guesses (the setting `speculative`): those that were right are among the completion's tokens.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct CompletionDetails {
    accepted_prediction_tokens: u32,
    rejected_prediction_tokens: u32,
}

/// What of the prompt was known before.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct PromptDetails {
    cached_tokens: u32,
}

impl From<Usage> for Cost {
    fn from(usage: Usage) -> Self {
        let Drafts { accepted, rejected } = usage.drafts;
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: (accepted + rejected > 0).then_some(CompletionDetails {
                accepted_prediction_tokens: accepted,
                rejected_prediction_tokens: rejected,
            }),
        }
    }
}
