//! What a device answers for one step.
//!
//! Faults of a whole device are not here: they are the hal's `DeviceError`. Next: `check.rs`.

use crate::token::TokenId;

/// One entry for each `Output` of the batch, in order.
pub type Outcome = Vec<Result<Answer, RowFault>>;

/// The result of one output.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The chosen token.
    Sample {
        /// The token.
        token: TokenId,
        /// Its log probability in the model's raw distribution, where logprobs were asked for.
        logprob: f32,
        /// Alternatives, most probable first, of the raw distribution.
        top: Vec<(TokenId, f32)>,
    },
    /// What was asked of a row's distribution.
    Score {
        /// One for each token asked.
        scores: Vec<Score>,
        /// Alternatives, most probable first.
        top: Vec<(TokenId, f32)>,
    },
    /// The output row.
    Row(Vec<f32>),
}

/// How probable a token is as the next one, in the model's raw distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Its log probability.
    pub logprob: f32,
    /// Its place among all tokens; the most probable has 1.
    pub rank: u32,
}

/// Why one row failed; its neighbours are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFault {
    /// A logit was NaN or infinite.
    NotFinite,
    /// The mask allowed no token.
    EmptyMask,
}

impl RowFault {
    /// What a user is told.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::NotFinite => "the model computed a value that is not finite",
            Self::EmptyMask => "the grammar allows no token here",
        }
    }
}
