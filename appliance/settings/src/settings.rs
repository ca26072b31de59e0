//! Resolved settings: each value with where it came from and what it beat.
//!
//! How they come about is `resolve.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::resolve::{Facts, Given};
use crate::setting::Value;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything; the table's reason.
    Default(&'static str),
    /// A line of a file.
    File {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u32,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(why) => write!(f, "default: {why}"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// Something that was said and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The name that was used.
    pub name: String,
    /// Where.
    pub source: Source,
    /// Why it has no effect.
    pub why: String,
    /// True where a person should look: it names a setting, or nearly so, and was not taken.
    pub is_loud: bool,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name, self.source, self.why)
    }
}

/// A resolved setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its value.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
    /// True where another server's name or the model's own folder said it: what cannot be is
    /// then cut to what can.
    pub is_foreign: bool,
    /// Values that were beaten, the weakest first.
    pub overrode: Vec<(Value, Source)>,
}

/// All settings, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) entries: BTreeMap<&'static str, Entry>,
    pub(crate) ignored: Vec<Ignored>,
    /// What they came from, for [`Settings::on`].
    pub(crate) said: Arc<(Facts, Given)>,
}

impl Settings {
    /// The entry of a key.
    ///
    /// # Panics
    /// If the table has no such key: a bug of the caller.
    #[must_use]
    pub fn entry(&self, key: &str) -> &Entry {
        self.entries.get(key).unwrap_or_else(|| panic!("{key} stands in the table"))
    }

    /// All entries, by key.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    /// What was said by foreign names and has no effect, with its place and why.
    #[must_use]
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// A short name of all values: equal settings have equal hashes, whatever their sources. Of a
    /// secret only whether there is one.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (key, entry) in &self.entries {
            hash.update(format!("{key}={}\n", entry.value));
        }
        hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A whole number; `None` is `auto`.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<u64> {
        match self.entry(key).value {
            Value::Integer(n) => Some(n),
            _ => None,
        }
    }

    /// A whole number of a setting that always has one.
    ///
    /// # Panics
    /// If the setting is no whole number: a bug of the caller or of the table.
    #[must_use]
    pub fn whole(&self, key: &str) -> u64 {
        self.integer(key).unwrap_or_else(|| panic!("{key} has a number"))
    }

    /// The same in 32 bits, which the table's limits keep.
    ///
    /// # Panics
    /// As `whole`.
    #[must_use]
    pub fn small(&self, key: &str) -> u32 {
        u32::try_from(self.whole(key)).unwrap_or(u32::MAX)
    }

    /// The same as a time in seconds.
    ///
    /// # Panics
    /// As `whole`.
    #[must_use]
    pub fn seconds(&self, key: &str) -> Duration {
        Duration::from_secs(self.whole(key))
    }

    /// A number; `None` is `auto`.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.entry(key).value {
            Value::Number(n) => Some(n),
            _ => None,
        }
    }

    /// Text; `None` is `auto`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key).value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A secret; empty is none.
    #[must_use]
    pub fn secret(&self, key: &str) -> &str {
        match &self.entry(key).value {
            Value::Secret(secret) => secret.expose(),
            _ => "",
        }
    }

    /// A flag.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.entry(key).value == Value::Flag(true)
    }
}
