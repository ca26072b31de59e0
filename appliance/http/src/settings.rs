//! Limits of the edge, whichever models it serves. What a model's settings say of its requests is the
//! engine's `Edge`.
//!
//! Next: `state.rs`.

use std::time::Duration;

use crate::keys::Keys;
use crate::web::WebRules;

/// Limits of the edge.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies that are being read or answered.
    pub bodies_bytes_max: usize,
    /// Bytes of all whole answers that their clients have not read yet.
    pub answers_bytes_max: usize,
    /// Responses that later requests may refer to; 0 keeps none.
    pub responses_kept: usize,
    /// Time to read a body.
    pub body_timeout: Duration,
    /// Time to read a request's head, and the longest an idle connection is kept.
    pub head_timeout: Duration,
    /// Time without progress after which a client that does not read is given up.
    pub write_timeout: Duration,
    /// Open connections; more are closed at once.
    pub connections_max: usize,
    /// Time for open connections to end after `shutdown`.
    pub close_timeout: Duration,
    /// Tell metrics by vLLM's names as well.
    pub vllm_metrics: bool,
    /// Serve the dashboard at `/` and `/status`.
    pub dashboard: bool,
    /// Which web pages may use the API.
    pub web: WebRules,
    /// Which keys may.
    pub keys: Keys,
    /// On `/v1`, a name must be that of a model, also where there is only one.
    pub is_name_strict: bool,
}

impl Default for HttpSettings {
    /// The cloud's limit of bodies, 25 MB, and what fits to it.
    fn default() -> Self {
        Self {
            body_bytes_max: 25 << 20,
            bodies_bytes_max: 100 << 20,
            answers_bytes_max: 320 << 20,
            responses_kept: 1000,
            body_timeout: Duration::from_secs(60),
            head_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            connections_max: 4096,
            close_timeout: Duration::from_secs(2),
            vllm_metrics: false,
            dashboard: true,
            web: WebRules::default(),
            keys: Keys::default(),
            is_name_strict: true,
        }
    }
}
