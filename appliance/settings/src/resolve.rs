//! Layers: built-in < files, in the order given < environment < flags.
//!
//! Each value knows where it came from and what it beat. A name of ours that does not exist is an
//! error with the nearest name; a foreign one (of LMI's files and variables) is listed as ignored.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::files::{ConfigFile, Format, Line};
use crate::table::{Kind, Setting, TABLE, Value, find};
use crate::{SettingError, nearest};

/// Prefix of our variables.
const PREFIX: &str = "GIMBAL_";
/// Variables of ours that are no settings: test harnesses and replay seeds.
const NOT_SETTINGS: [&str; 3] = ["GIMBAL_SEED", "GIMBAL_TEST_MODEL", "GIMBAL_TEST_BINARY"];
/// Prefixes of foreign variables that are settings somewhere else.
const FOREIGN: [&str; 2] = ["OPTION_", "SERVING_"];

/// What defaults depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The process runs in a container or under SageMaker.
    pub in_container: bool,
}

/// Everything that was said, by layer.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Files, the weakest first.
    pub files: Vec<ConfigFile>,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
    /// Flags, without the leading dashes.
    pub flags: Vec<(String, String)>,
}

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

/// A resolved setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
    /// Values that were beaten, the weakest first.
    pub overrode: Vec<(Value, Source)>,
}

/// All settings, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    entries: BTreeMap<&'static str, Entry>,
    ignored: Vec<(String, Source)>,
}

impl Settings {
    /// Resolves every setting of the table.
    ///
    /// # Errors
    /// An unknown name of ours, a value that is not legal, or a broken file, with its place.
    pub fn resolve(facts: &Facts, given: &Given) -> Result<Self, SettingError> {
        let default = |setting: &'static Setting| {
            let (value, why) = (setting.default)(facts);
            let entry = Entry { value, source: Source::Default(why), overrode: Vec::new() };
            (setting.key, entry)
        };
        let entries = TABLE.iter().map(default).collect();
        let mut settings = Self { entries, ignored: Vec::new() };
        for file in &given.files {
            settings.read_file(file)?;
        }
        settings.read_environment(&given.environment)?;
        for (name, text) in &given.flags {
            let source = Source::Flag(name.clone());
            let setting = find(name).ok_or_else(|| unknown_flag(name))?;
            settings.set(setting, text, source)?;
        }
        Ok(settings)
    }

    fn read_file(&mut self, file: &ConfigFile) -> Result<(), SettingError> {
        for Line { key, value, line } in file.lines()? {
            let source = Source::File { path: file.path.clone(), line };
            let found = match file.format {
                Format::Yaml => find(&key),
                Format::Properties => TABLE.iter().find(|s| is_property_of(s, &key)),
            };
            match (found, file.format) {
                (Some(setting), _) => self.set(setting, &value, source)?,
                (None, Format::Properties) => self.ignored.push((key, source)),
                (None, Format::Yaml) => {
                    let nearest = nearest(&key, TABLE.iter().map(|s| s.key)).map(str::to_owned);
                    let given = format!("{key} ({source})");
                    return Err(SettingError::Unknown { given, nearest });
                }
            }
        }
        Ok(())
    }

    fn read_environment(&mut self, environment: &[(String, String)]) -> Result<(), SettingError> {
        let own: Vec<String> = TABLE.iter().map(own_name).collect();
        for (name, _) in environment {
            let is_ours = name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str());
            if is_ours && !own.contains(name) {
                let nearest = nearest(name, own.iter().map(String::as_str)).map(str::to_owned);
                let given = format!("environment {name}");
                return Err(SettingError::Unknown { given, nearest });
            }
            let is_foreign = FOREIGN.iter().any(|prefix| name.starts_with(prefix));
            if is_foreign && !TABLE.iter().any(|s| s.environment.contains(&name.as_str())) {
                self.ignored.push((name.clone(), Source::Environment(name.clone())));
            }
        }
        for setting in TABLE {
            // The weakest name first, so that our own one wins.
            let own = own_name(setting);
            let names = setting.environment.iter().rev().copied().chain([own.as_str()]);
            for name in names {
                let found = environment.iter().find(|(n, text)| n == name && !text.is_empty());
                if let Some((name, text)) = found {
                    self.set(setting, text, Source::Environment(name.clone()))?;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, setting: &Setting, text: &str, source: Source) -> Result<(), SettingError> {
        let value = parse(setting, text).map_err(|expected| SettingError::Illegal {
            key: setting.key,
            value: text.to_owned(),
            from: source.clone(),
            expected,
        })?;
        if let Some(entry) = self.entries.get_mut(setting.key) {
            let value = std::mem::replace(&mut entry.value, value);
            let source = std::mem::replace(&mut entry.source, source);
            entry.overrode.push((value, source));
        }
        Ok(())
    }

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

    /// Foreign names that mean nothing here, with their places.
    #[must_use]
    pub fn ignored(&self) -> &[(String, Source)] {
        &self.ignored
    }

    /// A short name of all values: equal settings have equal hashes, whatever their sources.
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

    /// Text; `None` is `auto`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key).value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A flag.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.entry(key).value == Value::Flag(true)
    }
}

fn unknown_flag(name: &str) -> SettingError {
    let nearest = nearest(&name.replace('-', "_"), TABLE.iter().map(|s| s.key));
    let nearest = nearest.map(|key| format!("--{}", key.replace('_', "-")));
    SettingError::Unknown { given: format!("flag --{name}"), nearest }
}

fn parse(setting: &Setting, text: &str) -> Result<Value, String> {
    if text == "auto" && setting.allows_auto() {
        return Ok(Value::Auto);
    }
    match setting.kind {
        Kind::Text if text.is_empty() => Err("it must not be empty".to_owned()),
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Choice(words) => Err(format!("it must be one of {}", words.join(", "))),
        Kind::Flag => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Value::Flag(true)),
            "false" | "0" => Ok(Value::Flag(false)),
            _ => Err("it must be true or false".to_owned()),
        },
        Kind::Integer { min, max } => match text.parse() {
            Ok(n) if (min..=max).contains(&n) => Ok(Value::Integer(n)),
            _ => Err(format!("it must be a whole number from {min} to {max}")),
        },
    }
}

fn own_name(setting: &Setting) -> String {
    format!("{PREFIX}{}", setting.key.to_uppercase())
}

/// LMI writes `OPTION_X` as `option.x` and `SERVING_X` as `x`; our own keys are taken as they are.
fn is_property_of(setting: &Setting, key: &str) -> bool {
    let is_lmi = |name: &&str| match name.strip_prefix("OPTION_") {
        Some(rest) => key.strip_prefix("option.") == Some(rest.to_lowercase().as_str()),
        None => name.strip_prefix("SERVING_").is_some_and(|rest| key == rest.to_lowercase()),
    };
    key == setting.key || setting.environment.iter().any(is_lmi)
}

#[cfg(test)]
mod tests;
