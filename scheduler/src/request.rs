//! What goes into the scheduler and what comes out, as data.
//!
//! Next: `lib.rs` for the verbs.

use std::sync::Arc;

use gimbal_batch::{AdapterSlot, Cannot, RowFault, SampleParams, Score, TokenId};

use crate::spans::Span;

/// A point in time, in microseconds since any fixed start; the caller's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

/// Names a request; unique while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Higher goes first; 0 is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(pub i8);

/// Who asks, in two parts: where from, and with which key. Seats are shared between addresses first,
/// then between the keys of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// The address, as a number that only equality matters of.
    pub address: u64,
    /// The key, likewise; 0 is none.
    pub key: u64,
}

/// One request: a prompt and how to continue it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// The prompt; at least one token.
    pub tokens: Arc<[TokenId]>,
    /// Tokens of the prompt whose embeddings are given, in order.
    pub spans: Arc<[Span]>,
    /// Tokens to generate at most, for each choice; at least 1.
    pub max_new_tokens: u32,
    /// Tokens that end a choice.
    pub stop_tokens: Arc<[TokenId]>,
    /// What to tell of the prompt's own tokens; once, not for each choice.
    pub scores: Option<PromptScores>,
    /// How tokens are chosen. Choice `i` uses `seed + i`.
    pub params: Arc<SampleParams>,
    /// Independent continuations (`n`); at least 1.
    pub choices: u16,
    /// The adapter to use; it is loaded.
    pub adapter: AdapterSlot,
    /// Separates prefix caches: requests with other salts never share blocks.
    pub salt: u64,
    /// Who goes first.
    pub priority: Priority,
    /// Who asks.
    pub client: Client,
    /// When the request must have ended.
    pub deadline: Option<Micros>,
    /// Every output gets a token mask that depends on all tokens before it (a grammar): no choice
    /// is planned while one of its samples is in flight, and none is guessed ahead.
    pub masked: bool,
}

impl Request {
    /// One greedy continuation of a prompt, and nothing else that could be asked.
    #[must_use]
    pub fn new(id: RequestId, tokens: Arc<[TokenId]>, max_new_tokens: u32) -> Self {
        Self {
            id,
            tokens,
            spans: Arc::default(),
            max_new_tokens,
            stop_tokens: Arc::default(),
            scores: None,
            params: Arc::default(),
            choices: 1,
            adapter: AdapterSlot(0),
            salt: 0,
            priority: Priority::default(),
            client: Client::default(),
            deadline: None,
            masked: false,
        }
    }
}

/// How probable a prompt's tokens are by those before them: rows `from..` tell it of the token that
/// follows each, so the first that is scored is `from + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptScores {
    /// The first row. Rows before it may come from the prefix cache.
    pub from: u32,
    /// Alternatives to each token.
    pub top: u8,
}

/// Why a request is not admitted. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Prompt and output do not fit the model's context or the KV cache.
    TooLong {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens asked for.
        max_new_tokens: u32,
        /// What both together may have.
        max_model_len: u32,
    },
    /// The queue is full.
    QueueFull {
        /// Requests waiting.
        queue_len: u32,
        /// The limit.
        job_queue_size: u32,
    },
    /// The deadline cannot be met.
    Deadline {
        /// When the request would end at best.
        expected: Micros,
    },
    /// The device cannot choose tokens as the request asks.
    Unsupported(Cannot),
    /// Rows that must be computed together do not fit a step: those of an image, or of a request
    /// for tensors.
    TooManyRows {
        /// How many.
        rows: u32,
        /// How many there may be.
        rows_max: u32,
    },
    /// A field has no legal value.
    Invalid {
        /// Which, and what would be legal.
        what: &'static str,
    },
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The request left the queue: its first rows are scheduled. Sent once, before any token.
    Started {
        /// The request.
        id: RequestId,
        /// Prompt tokens whose KV came from the prefix cache.
        cached_tokens: u32,
        /// Time between `admit` and the step that holds its first rows.
        waited: Micros,
    },
    /// Scores of the prompt, after those told before. All come before the first token of choice 0;
    /// where that choice ends early, there may be less.
    Scores {
        /// The request.
        id: RequestId,
        /// The token of the prompt that the first one is of.
        first: u32,
        /// One for each token, in order.
        scores: Vec<TokenScore>,
    },
    /// A token of a choice.
    Token(SampleEvent),
    /// A choice ended. The last event of that choice.
    Finished {
        /// The request.
        id: RequestId,
        /// Which continuation.
        choice: u16,
        /// Why.
        reason: Finish,
    },
}

/// A token of a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleEvent {
    /// The request.
    pub id: RequestId,
    /// Which continuation.
    pub choice: u16,
    /// The token.
    pub token: TokenId,
    /// Its log probability, where asked for.
    pub logprob: f32,
    /// Alternatives, where asked for.
    pub top: Vec<(TokenId, f32)>,
    /// What became of the step's guesses, told with its last token.
    pub drafts: Drafts,
}

/// What became of guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drafts {
    /// They were what the model would have chosen, and each saved a step.
    pub accepted: u32,
    /// They were wrong, or behind a wrong one.
    pub rejected: u32,
}

/// How probable a token of the prompt is.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenScore {
    /// Its log probability and its place.
    pub score: Score,
    /// Alternatives, where asked for.
    pub top: Vec<(TokenId, f32)>,
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// `max_new_tokens` were generated.
    Length,
    /// A stop token was generated (it was the last `Token` event).
    StopToken,
    /// `cancel` was called.
    Cancelled,
    /// The deadline passed.
    Deadline,
    /// The row failed; the neighbours did not.
    Fault(RowFault),
    /// The device was lost too often.
    Lost,
    /// The device was lost, and the one that came back cannot serve the request.
    Refused(Refusal),
}

/// Limits and order, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Sequences that run together, at most; never above the device's limit, nor above
    /// `step_tokens_max`, so that everybody can have a row in every step.
    pub max_rolling_batch_size: u32,
    /// Requests that wait, at most.
    pub job_queue_size: u32,
    /// Rows of a step, at most; decode rows come first, prefill fills the rest.
    pub step_tokens_max: u32,
    /// Prompt rows beside decode rows are cut so that a step takes about this long: it bounds the
    /// pause between two tokens. `None` fills `step_tokens_max`.
    pub step_time_max: Option<Micros>,
    /// Reuse KV of equal prefixes.
    pub prefix_cache: bool,
    /// Guesses per step by n-gram lookup; 0 is off. Sequences are then never planned while a
    /// sample of theirs is in flight.
    pub drafts_max: u32,
    /// Tokens after which a sequence gives its seat to one that waits, where seats are shared equally
    /// already; 0 is never.
    pub turn_tokens: u32,
    /// Secret of the prefix cache's keys; random in every process.
    pub prefix_secret: [u64; 2],
}

/// What the scheduler counts. Gauges first, then totals that only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests waiting.
    pub waiting: u32,
    /// Sequences running.
    pub running: u32,
    /// Sequences whose masks are late, waiting or running.
    pub held: u32,
    /// Blocks owned by sequences.
    pub blocks_used: u32,
    /// Blocks that hold a reusable prefix and belong to nobody.
    pub blocks_cached: u32,
    /// Blocks that hold nothing.
    pub blocks_free: u32,
    /// Slots in use.
    pub slots_used: u32,
    /// Steps in flight.
    pub in_flight: u32,
    /// The mean time of a step, lately, in microseconds.
    pub step_us: u64,
    /// Steps scheduled.
    pub steps: u64,
    /// Prompt rows computed.
    pub prefill_tokens: u64,
    /// Prompt rows whose embeddings were injected.
    pub injected_tokens: u64,
    /// Rows computed to continue a sequence.
    pub decode_tokens: u64,
    /// Prompt tokens taken from the prefix cache.
    pub prefix_hit_tokens: u64,
    /// Tokens sent out.
    pub output_tokens: u64,
    /// Sequences preempted for lack of blocks.
    pub preemptions: u64,
    /// Seats given up for somebody with a better claim.
    pub turns: u64,
    /// Guesses verified.
    pub drafts_proposed: u64,
    /// Guesses that were right.
    pub drafts_accepted: u64,
    /// Rows that failed.
    pub row_faults: u64,
    /// Devices lost.
    pub losses: u64,
}
