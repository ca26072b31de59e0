//! Why a request is not served, with the numbers a client needs to do better.
//!
//! No HTTP status stands here; the edge maps each variant. Next: `request.rs`.

use gimbal_batch::Cannot;
use gimbal_scheduler::Refusal as SchedulerRefusal;
use gimbal_text::TextError;

/// How full it is, and when to come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueNumbers {
    /// Requests waiting.
    pub queue_len: u32,
    /// How many may wait.
    pub job_queue_size: u32,
    /// When a place should be free, in milliseconds.
    pub retry_after_ms: u64,
}

impl std::fmt::Display for QueueNumbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { queue_len, job_queue_size, .. } = self;
        write!(f, "{queue_len} requests wait, job_queue_size is {job_queue_size}")
    }
}

/// A request that is not admitted. It left nothing behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Come back later: all places are taken.
    #[error("the queue is full: {0}")]
    QueueFull(QueueNumbers),
    /// Come back later: it would not be done in time.
    #[error("the deadline cannot be met: {0}")]
    Deadline(QueueNumbers),
    /// Ask for less.
    // Its beginning is OpenAI's and vLLM's: clients look for it.
    #[error(
        "This model's maximum context length is {max_model_len} tokens. However, you requested \
         {0}{1} tokens ({0}{prompt_tokens} in the messages, {max_new_tokens} in the completion). \
         Please reduce the length of the messages or completion: {0}{prompt_tokens} prompt tokens \
         and {max_new_tokens} new tokens do not fit max_model_len = {max_model_len}",
        if *.at_least { "at least " } else { "" },
        .prompt_tokens.saturating_add(*.max_new_tokens)
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// The prompt was not even tokenized: it has so many tokens or more.
        at_least: bool,
        /// Tokens asked for.
        max_new_tokens: u32,
        /// What both together may have.
        max_model_len: u32,
    },
    /// Ask for something else: this device or version cannot do it.
    #[error("{what} is not supported by this model's device")]
    Unsupported {
        /// What.
        what: &'static str,
    },
    /// Correct the request.
    #[error("{field}: {what}")]
    Invalid {
        /// Which field, by its name in the engine.
        field: &'static str,
        /// What is wrong, and what would do.
        what: String,
    },
    /// Correct the request: its text or messages cannot become tokens.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Go elsewhere: the server is ending.
    #[error("the server is shutting down")]
    Draining,
    /// Go elsewhere: the engine has stopped.
    #[error("the engine is not available: {why}")]
    Unavailable {
        /// What happened.
        why: String,
    },
}

impl Refusal {
    /// The name used in metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::QueueFull { .. } => "queue_full",
            Self::Deadline { .. } => "deadline",
            Self::TooLong { .. } => "too_long",
            Self::Unsupported { .. } => "unsupported",
            Self::Invalid { .. } | Self::Text(_) => "invalid",
            Self::Draining => "draining",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// What the device cannot do, in the engine's words.
    pub(crate) fn of_device(cannot: Cannot) -> Self {
        match cannot {
            Cannot::Do(what) => Self::Unsupported { what },
            Cannot::SoMany { field, .. } => Self::Invalid { field, what: cannot.to_string() },
        }
    }

    /// The scheduler's refusal in the engine's words.
    pub(crate) fn of_scheduler(refusal: &SchedulerRefusal, queue: QueueNumbers) -> Self {
        match *refusal {
            SchedulerRefusal::TooLong { prompt_tokens, max_new_tokens, max_model_len } => {
                Self::TooLong { prompt_tokens, at_least: false, max_new_tokens, max_model_len }
            }
            SchedulerRefusal::QueueFull { queue_len, job_queue_size } => {
                Self::QueueFull(QueueNumbers { queue_len, job_queue_size, ..queue })
            }
            SchedulerRefusal::Deadline { .. } => Self::Deadline(queue),
            SchedulerRefusal::Unsupported(cannot) => Self::of_device(cannot),
            SchedulerRefusal::TooManyRows { rows, rows_max } => {
                let what =
                    format!("{rows} rows that cannot be parted, at most {rows_max} fit a step");
                Self::Invalid { field: "request", what }
            }
            SchedulerRefusal::Invalid { what } => {
                Self::Invalid { field: "request", what: what.to_owned() }
            }
        }
    }
}
