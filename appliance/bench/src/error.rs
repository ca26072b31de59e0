//! Why a bench cannot begin, or has nothing to tell.
//!
//! A request that fails is no error of the bench but a record (`record.rs`).

use thiserror::Error;

/// Why there is no report.
#[derive(Debug, Error)]
pub enum BenchError {
    /// Call it otherwise.
    #[error("{0}")]
    Usage(String),
    /// Start the server, or name another.
    #[error("{0}")]
    Unavailable(String),
}
