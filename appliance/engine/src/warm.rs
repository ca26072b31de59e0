//! The first token: a model serves only after it has given one.
//!
//! Whether the token is a good one is judged by golden tests, not here. Next: `drain.rs`.

use std::time::{Duration, Instant};

use crate::request::{FinishReason, GenerateRequest, Prompt};
use crate::{Refusal, Service};

/// The first answer of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// The token.
    pub token: u32,
    /// How long it took.
    pub took: Duration,
}

/// Why a model cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWarm {
    /// The request was refused.
    #[error("the first request was refused: {0}")]
    Refused(#[from] Refusal),
    /// No token came.
    #[error("the first request ended without a token: {}", .0.name())]
    NoToken(FinishReason),
}

impl Service {
    /// Generates one token on the way all requests go.
    ///
    /// # Errors
    /// Why there was none.
    pub async fn warm_up(&self) -> Result<WarmUp, NotWarm> {
        let from = Instant::now();
        let request = GenerateRequest {
            max_new_tokens: Some(1),
            is_counted: false,
            ..GenerateRequest::new(Prompt::Tokens(vec![0]))
        };
        let (choices, _) = self.generate(request).await?.complete().await;
        let choice = choices.into_iter().next();
        let ended = choice.as_ref().map_or(FinishReason::Cancelled, |c| c.finish.clone());
        if let FinishReason::Error(_) = ended {
            return Err(NotWarm::NoToken(ended));
        }
        let token = choice.and_then(|c| c.tokens.first().map(|(t, _)| t.id));
        let token = token.ok_or(NotWarm::NoToken(ended))?;
        // Whoever asks for a grammar first shall not wait for what all grammars need.
        self.prepare_grammars();
        Ok(WarmUp { token, took: from.elapsed() })
    }
}
