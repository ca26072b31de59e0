//! What can be wrong with a model, always with the file and the place in it.

use std::path::PathBuf;

/// A model that cannot be used, by what the user does next.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Name another path: nothing usable is there.
    #[error("no model at {path}: {why}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What was found instead, and what is accepted.
        why: String,
    },
    /// Fetch it again: the file is broken.
    #[error("{path} is broken: {why}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, at which byte or key.
        why: String,
    },
    /// Use another model: this one needs something Gimbal does not have.
    #[error("{path} is not supported: {what}; known: {known}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The architecture, type or key that is not known.
        what: String,
        /// What is known instead.
        known: String,
    },
}
