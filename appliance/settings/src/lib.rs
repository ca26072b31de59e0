//! One table of settings; every resolved value keeps its source and what it overrode.
//!
//! Reading order: `setting` (what one is), `table` (all of them), `files` and `properties` (what files
//! say), `resolve` (layers, and who may say what), `settings` (the result), `foreign` (other servers'
//! names), `import` (their files as our YAML), `document` (the table for people), `near` (did you mean).
//!
//! # Invariants
//! - A setting exists in one place, `table.rs`; flags, environment and documentation follow it.
//! - A value whose source is unknown cannot be written: `Entry` has no constructor without one.
//! - From a model's folder only settings of [`Scope::Model`] are taken, and paths only inside of it.
//! - Absent: reading files, devices, models. Texts and facts are arguments.

#![forbid(unsafe_code)]

mod document;
mod files;
mod foreign;
mod import;
mod near;
mod properties;
mod resolve;
mod setting;
mod settings;
mod table;

pub use document::markdown;
pub use files::{ConfigFile, Format, Origin};
pub use import::import;
pub use near::nearest;
pub use resolve::{Facts, Given, Paths};
pub use setting::{Kind, Names, Scope, Secret, Setting, Value};
pub use settings::{Entry, Ignored, Settings, Source};
pub use table::{TABLE, find};

/// Why settings cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// A name of ours that means nothing.
    #[error("{given}, but there is no such setting{hint}", hint = hint(.nearest.as_deref()))]
    Unknown {
        /// The flag or variable, and that it was said.
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
