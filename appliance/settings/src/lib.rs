//! One table of settings; every resolved value keeps its source and what it overrode.
//!
//! Reading order: `table` (the settings), `files` (YAML and properties), `resolve` (layers and
//! checks), `foreign` (other servers' names), `import` (their files as our YAML), `document` (the
//! table for people), `near` (did you mean).
//!
//! # Invariants
//! - A setting exists in one place, `table.rs`; flags, environment and documentation follow it.
//! - A value whose source is unknown cannot be written: `Entry` has no constructor without one.
//! - Absent: reading files, devices, models. Texts and facts are arguments.

#![forbid(unsafe_code)]

mod document;
mod files;
mod foreign;
mod import;
mod near;
mod resolve;
mod table;

pub use document::markdown;
pub use files::{ConfigFile, Format};
pub use import::import;
pub use near::nearest;
pub use resolve::{Entry, Facts, Given, Ignored, Settings, Source};
pub use table::{Kind, Setting, TABLE, Value, find};

/// Why settings cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// A name of ours that does not exist.
    #[error("{source} does not exist{hint}", source = .given, hint = hint(.nearest.as_deref()))]
    Unknown {
        /// The flag or variable.
        given: String,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// A file that cannot be read as settings.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A value that is not legal.
    #[error("{key} = {value:?} (from {from}): {expected}")]
    Illegal {
        /// The setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// Where.
        from: Source,
        /// What would be legal.
        expected: String,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|n| format!("; did you mean {n}?")).unwrap_or_default()
}
