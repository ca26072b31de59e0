//! What became of one request: the raw material of every figure.
//!
//! Next: `figures.rs`.

use serde::Serialize;

/// One request, as it is in the JSON report.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Its number in the run, from 0; the same number has the same prompt on every side.
    pub index: u32,
    /// When it was due, in an open loop.
    pub due_us: Option<u64>,
    /// When it was sent, from the run's beginning.
    pub sent_us: u64,
    /// Tokens the prompt was made for, the shared prefix included.
    pub prompt_tokens_asked: u32,
    /// Tokens that were asked for.
    pub output_tokens_asked: u32,
    /// The server's count of the prompt.
    pub prompt_tokens: Option<u32>,
    /// How many of them the server had in a cache.
    pub cached_tokens: Option<u32>,
    /// Tokens that came.
    pub output_tokens: u32,
    /// Who counted them.
    pub output_counted: Counted,
    /// From sending to the first token.
    pub ttft_us: Option<u64>,
    /// Time between each two pieces that bring tokens, in their order.
    pub itl_us: Vec<u64>,
    /// From sending to the end, good or bad.
    pub e2e_us: u64,
    /// Why there is no whole answer.
    pub error: Option<RequestError>,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestError {
    /// A status, or `connect`, `timeout`, `cut`, `stream`, `shape`, `not sent`.
    pub kind: String,
    /// In words, the server's where it gave some.
    pub message: String,
}

/// Who counted the output's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// The server, in `usage` or `details`.
    Server,
    /// The client: pieces of the stream, each taken for a token.
    Pieces,
}

impl Record {
    /// Mean time between tokens after the first, in milliseconds (TPOT).
    #[must_use]
    pub fn tpot_ms(&self) -> Option<f64> {
        let later = self.output_tokens.checked_sub(1).filter(|n| *n > 0)?;
        self.ttft_us?;
        Some(self.itl_us.iter().sum::<u64>() as f64 / 1e3 / f64::from(later))
    }
}
