//! What is asked of a model and what it answers, after text has become tokens and before tokens
//! have become any wire format.
//!
//! Next: `service.rs`.

use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::SampleParams;
use gimbal_scheduler::{Client, Drafts, Priority};
use gimbal_text::GrammarSource;
use serde_json::{Map, Value};

use crate::constraint::Constrain;

/// One request for text.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// Tokens to generate at most; `None` goes on to the end of the context. 0 only where `scores` are
    /// asked for.
    pub max_new_tokens: Option<u32>,
    /// How tokens are chosen. The seed is ignored; see `seed`.
    pub params: SampleParams,
    /// Tokens whose log probabilities are reported instead of the best alternatives', where any are.
    pub logprob_token_ids: Arc<[u32]>,
    /// Alternatives to report with each token of the prompt; `None` scores none.
    pub scores: Option<u8>,
    /// Decides all randomness; `None` takes a random one.
    pub seed: Option<u64>,
    /// Tokens to generate at least: neither end tokens nor stop strings end it before.
    pub min_new_tokens: u32,
    /// Independent continuations.
    pub choices: u16,
    /// Text that ends a continuation.
    pub stop: Arc<[String]>,
    /// Whether a stop string is part of the text.
    pub include_stop: bool,
    /// Tokens that end a continuation, besides the model's own.
    pub stop_token_ids: Arc<[u32]>,
    /// Goes on after the model's own end tokens.
    pub ignore_eos: bool,
    /// Leaves control tokens out of the text.
    pub skip_special_tokens: bool,
    /// Control tokens that stay in the text all the same, in ascending order.
    pub kept_tokens: Arc<[u32]>,
    /// Keeps only so many tokens of the prompt, the last ones.
    pub truncate: Option<u32>,
    /// Time until the last token; after it the request ends.
    pub deadline: Option<Duration>,
    /// Who goes first.
    pub priority: Priority,
    /// Requests of different salts share no cached prefix.
    pub salt: u64,
    /// Who asks: seats and threads are shared between clients.
    pub client: Client,
    /// The grammar of every continuation.
    pub grammar: Option<Wanted>,
    /// What may come, where not everything may; a grammar becomes one.
    pub constrain: Option<Arc<dyn Constrain>>,
    /// It is somebody's: false for the first request of a model, which no metric counts.
    pub is_counted: bool,
}

impl GenerateRequest {
    /// A greedy request with all defaults.
    #[must_use]
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            max_new_tokens: None,
            params: SampleParams::default(),
            logprob_token_ids: Arc::default(),
            scores: None,
            seed: None,
            min_new_tokens: 0,
            choices: 1,
            stop: Arc::default(),
            include_stop: false,
            stop_token_ids: Arc::default(),
            ignore_eos: false,
            skip_special_tokens: true,
            kept_tokens: Arc::default(),
            truncate: None,
            deadline: None,
            priority: Priority::default(),
            salt: 0,
            client: Client::default(),
            grammar: None,
            constrain: None,
            is_counted: true,
        }
    }
}

/// A grammar that is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The field it stood in.
    pub field: &'static str,
    /// The grammar, as it was written.
    pub source: Arc<GrammarSource>,
}

/// What to continue.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Text as it is; control tokens written in it are taken as such.
    Text(String),
    /// As `Text`, without what the tokenizer puts around a text.
    Plain(String),
    /// Tokens as they are.
    Tokens(Vec<u32>),
    /// A conversation, written by the model's template.
    Chat {
        /// Messages as the template expects them.
        messages: Vec<Value>,
        /// More variables for the template.
        variables: Map<String, Value>,
        /// Where the prompt ends.
        turn: Turn,
        /// Adds what the tokenizer puts around a text; templates mostly write it themselves.
        add_special_tokens: bool,
    },
}

/// Where the prompt of a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// After the beginning of the assistant's turn.
    Begun,
    /// After the last message.
    Closed,
    /// Within the last message, which goes on.
    Continued,
}

/// The next piece of one continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// Which continuation.
    pub choice: u16,
    /// Text that became certain: whole characters, no part of a stop string.
    pub text: String,
    /// The token that led to it. A last piece may have none.
    pub token: Option<TokenInfo>,
    /// Why it ended; nothing follows for this continuation.
    pub finish: Option<FinishReason>,
    /// Of the prompt's tokens but the first, where asked for; with the first piece of each continuation.
    pub scores: Option<Arc<[PromptScore]>>,
}

/// How probable a token of the prompt is by those before it.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptScore {
    /// The token.
    pub id: u32,
    /// Its log probability.
    pub logprob: f32,
    /// Its place among all tokens; the most probable has 1.
    pub rank: u32,
    /// Alternatives, most probable first.
    pub top: Vec<(u32, f32)>,
}

/// A generated token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenInfo {
    /// The token.
    pub id: u32,
    /// Its log probability, where asked for; otherwise 0.
    pub logprob: f32,
    /// Alternatives, most probable first, where asked for.
    pub top: Vec<(u32, f32)>,
    /// A control token.
    pub special: bool,
}

/// Why a continuation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it.
    EosToken,
    /// `max_new_tokens` were generated.
    Length,
    /// A stop string or one of `stop_token_ids` was found.
    StopSequence,
    /// Its grammar let no token come, or finding out which may come passed a limit.
    Grammar,
    /// It could not be continued.
    Error(String),
    /// The server shut down before it was done.
    Drained,
    /// Nobody wants it any more.
    Cancelled,
    /// The deadline passed.
    Deadline,
}

impl FinishReason {
    /// All names.
    pub(crate) const NAMES: [&'static str; 8] = [
        "eos_token",
        "length",
        "stop_sequence",
        "grammar",
        "error",
        "drained",
        "cancelled",
        "deadline",
    ];

    /// The name used in metrics and by LMI.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::EosToken => "eos_token",
            Self::Length => "length",
            Self::StopSequence => "stop_sequence",
            Self::Grammar => "grammar",
            Self::Error(_) => "error",
            Self::Drained => "drained",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
        }
    }
}

/// What a request cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated, of all continuations.
    pub completion_tokens: u32,
    /// Prompt tokens that were in the prefix cache.
    pub cached_tokens: u32,
    /// Guesses among the tokens generated, and those that were in vain.
    pub drafts: Drafts,
    /// From the request's arrival to its first token, once there is one.
    pub first_token: Option<Duration>,
}

/// One finished continuation, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Completed {
    /// All of its text.
    pub text: String,
    /// All of its tokens, each with the text it released.
    pub tokens: Vec<(TokenInfo, String)>,
    /// Why it ended.
    pub finish: FinishReason,
    /// Of the prompt's tokens but the first, where asked for.
    pub scores: Option<Arc<[PromptScore]>>,
}
