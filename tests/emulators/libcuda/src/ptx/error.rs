//! Why text is refused.

/// Why a module is refused.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct PtxError {
    /// Its line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub what: String,
}

pub(super) fn error(line: u32, what: &str) -> PtxError {
    PtxError { line, what: what.to_owned() }
}
