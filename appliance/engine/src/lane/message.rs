//! What a lane is told, what it tells those who wait, and what it says of itself.
//!
//! Next: `live.rs`.

use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{Limits, TokenId};
use gimbal_scheduler::{Drafts, Finish, Micros, Refusal, Request, RequestId, Stats, TokenScore};
use tokio::sync::mpsc;

use crate::constraint::Constraint;
use crate::gate::Permit;
use crate::request::FinishReason;

/// What a lane says about itself after every step and whenever it falls idle.
#[derive(Clone, Debug)]
pub struct LaneState {
    /// The scheduler's books.
    pub stats: Stats,
    /// Whether it can work.
    pub condition: Condition,
    /// There is work, so a step should finish soon.
    pub pending: bool,
    /// When a step finished last, or work began after idleness.
    pub progress: Micros,
    /// Between two requests that end, on average; zero while unknown.
    pub request_interval: Duration,
    /// What the device can do; one that comes back after a loss may do less.
    pub limits: Arc<Limits>,
    /// Tokens of prompt and output together, at most.
    pub model_len_max: u32,
}

/// Whether a lane can work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Yes.
    Running,
    /// The device is being opened again.
    Reopening {
        /// What happened to it.
        why: String,
    },
    /// No, for good.
    Stopped {
        /// What happened.
        why: String,
    },
}

/// What a lane is told. A permit's holder sends at most one of each, so the channel cannot fill.
#[derive(Debug)]
pub(crate) enum Command {
    Admit(Box<Admission>),
    Cancel(RequestId),
    /// A mask is there. At most one of these waits.
    Masked,
    Stop,
}

/// A request on its way in.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) request: Request,
    pub(crate) is_counted: bool,
    pub(crate) events: mpsc::Sender<LaneEvent>,
    pub(crate) permit: Permit,
    pub(crate) arrived: Micros,
    /// What may come next, for each choice; none where everything may.
    pub(crate) constraints: Vec<Box<dyn Constraint>>,
}

/// What a lane tells the one who waits for a request.
#[derive(Debug)]
pub(crate) enum LaneEvent {
    Refused(Refusal),
    /// `waited` is the time in the scheduler's queue.
    Started {
        cached_tokens: u32,
        waited: Micros,
    },
    /// More of what is told of the prompt.
    Scores(Vec<TokenScore>),
    Token {
        choice: u16,
        token: TokenId,
        logprob: f32,
        top: Vec<(TokenId, f32)>,
        drafts: Drafts,
        finish: Option<Finish>,
    },
    Finished {
        choice: u16,
        finish: Finish,
    },
    /// All choices ended for a reason the scheduler does not know.
    Failed(FinishReason),
}
