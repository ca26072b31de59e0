//! Layers: built-in < files, in the order given < environment < flags.
//!
//! Each value knows where it came from and what it beat. A name of ours that does not exist is an
//! error with the nearest name; a foreign one (of LMI's files and variables) is listed as ignored.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use crate::files::{ConfigFile, Format, Line};
use crate::foreign;
use crate::table::{Kind, Setting, TABLE, Value, find};
use crate::{SettingError, nearest};

/// Prefix of our variables.
const PREFIX: &str = "GIMBAL_";
/// Variables of ours that are no settings, by how they begin: replay seeds, test harnesses.
const NOT_SETTINGS: [&str; 2] = ["GIMBAL_SEED", "GIMBAL_TEST_"];

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
    /// Whether a path is there. Foreign names of the model may also name a repository somewhere
    /// else, which is none of ours.
    pub is_there: Option<fn(&str) -> bool>,
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

/// Something that was said and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The name that was used.
    pub name: String,
    /// Where.
    pub source: Source,
    /// Why it has no effect.
    pub why: String,
}

/// A resolved setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its value.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
    /// Values that were beaten, the weakest first.
    pub overrode: Vec<(Value, Source)>,
}

/// All settings, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    entries: BTreeMap<&'static str, Entry>,
    ignored: Vec<Ignored>,
    is_there: fn(&str) -> bool,
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
        let is_there = given.is_there.unwrap_or(|_| true);
        let mut settings = Self { entries, ignored: Vec::new(), is_there };
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
        if file.format == Format::GenerationConfig {
            return self.read_hints(file);
        }
        for Line { key, value, line } in file.lines()? {
            let source = Source::File { path: file.path.clone(), line };
            let found = match file.format {
                Format::Yaml => find(&key),
                Format::Properties => TABLE.iter().find(|s| is_property_of(s, &key)),
                Format::GenerationConfig => continue,
            };
            match (found, file.format) {
                (Some(setting), Format::Properties) if !self.can_be(setting, &value) => {
                    self.ignore(&key, source, &no_path(&value));
                }
                (Some(setting), _) => self.set(setting, &value, source)?,
                (None, Format::Yaml) => {
                    let nearest = nearest(&key, TABLE.iter().map(|s| s.key)).map(str::to_owned);
                    let given = format!("{key} ({source})");
                    return Err(SettingError::Unknown { given, nearest });
                }
                (None, _) => self.ignore(&key, source, foreign::why(&key)),
            }
        }
        Ok(())
    }

    /// A model's own sampling defaults are hints: what cannot be is told and never stops a boot.
    fn read_hints(&mut self, file: &ConfigFile) -> Result<(), SettingError> {
        let source = |line| Source::File { path: file.path.clone(), line };
        let lines = match file.lines() {
            Ok(lines) => lines,
            Err(SettingError::File { why, .. }) => {
                self.ignore("generation_config.json", source(1), &format!("all of it: {why}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for Line { key, value, line } in lines {
            // What is no sampling default of ours is not worth a word: token ids, versions.
            let Some(setting) = find(&format!("default_{key}")) else { continue };
            match parse(setting, &value) {
                Ok(_) => self.set(setting, &value, source(line))?,
                Err(expected) => {
                    let why = format!("{value} is no {}: {expected}", setting.key);
                    self.ignore(&key, source(line), &why);
                }
            }
        }
        Ok(())
    }

    /// Ours must exist and be legal; what belongs to somebody else never stops a boot.
    fn read_environment(&mut self, environment: &[(String, String)]) -> Result<(), SettingError> {
        let own: Vec<String> = TABLE.iter().map(own_name).collect();
        let mut ours = Vec::new();
        for (name, text) in environment {
            let source = Source::Environment(name.clone());
            let is_test = NOT_SETTINGS.iter().any(|prefix| name.starts_with(prefix));
            if !name.starts_with(PREFIX) || is_test {
                let known = TABLE.iter().any(|s| s.environment.contains(&name.as_str()));
                if !known && foreign::PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                    self.ignore(name, source, foreign::why(&foreign::property(name)));
                }
            } else if foreign::is_service_link(name, text) {
                self.ignore(name, source, "Kubernetes made it for a service of that name");
            } else if own.contains(name) {
                ours.push((name.as_str(), text.as_str()));
            } else {
                let nearest = nearest(name, own.iter().map(String::as_str)).map(str::to_owned);
                let given = format!("environment {name}");
                return Err(SettingError::Unknown { given, nearest });
            }
        }
        for (setting, own) in TABLE.iter().zip(&own) {
            // The weakest name first, so that our own one wins.
            for foreign in setting.environment.iter().rev() {
                let found =
                    environment.iter().find(|(name, text)| name == foreign && !text.is_empty());
                let Some((name, text)) = found else { continue };
                let source = Source::Environment(name.clone());
                match parse(setting, text) {
                    Err(expected) => {
                        let why = format!("{text:?} is no {}: {expected}", setting.key);
                        self.ignore(name, source, &why);
                    }
                    Ok(_) if !self.can_be(setting, text) => {
                        self.ignore(name, source, &no_path(text));
                    }
                    Ok(_) => self.set(setting, text, source)?,
                }
            }
            let found = ours.iter().find(|(name, text)| name == own && !text.is_empty());
            if let Some((name, text)) = found {
                self.set(setting, text, Source::Environment((*name).to_owned()))?;
            }
        }
        Ok(())
    }

    /// False for a foreign name of a model that is no path here.
    fn can_be(&self, setting: &Setting, text: &str) -> bool {
        setting.key != "model" || (self.is_there)(text)
    }

    fn ignore(&mut self, name: &str, source: Source, why: &str) {
        self.ignored.push(Ignored { name: name.to_owned(), source, why: why.to_owned() });
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

    /// What was said by foreign names and has no effect, with its place and why.
    #[must_use]
    pub fn ignored(&self) -> &[Ignored] {
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

pub(crate) fn parse(setting: &Setting, text: &str) -> Result<Value, String> {
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
        Kind::Number { min, max } => match text.parse() {
            Ok(n) if (min..=max).contains(&n) => Ok(Value::Number(n)),
            _ => Err(format!("it must be a number from {min} to {max}")),
        },
        Kind::Integer { min, max } => match text.parse() {
            Ok(n) if (min..=max).contains(&n) => Ok(Value::Integer(n)),
            _ => Err(format!("it must be a whole number from {min} to {max}")),
        },
    }
}

fn no_path(text: &str) -> String {
    format!("there is no {text:?} on this machine, and nothing is fetched from elsewhere")
}

fn own_name(setting: &Setting) -> String {
    format!("{PREFIX}{}", setting.key.to_uppercase())
}

/// LMI writes `OPTION_X` as `option.x` and `SERVING_X` as `x`; our own keys are taken as they are.
pub(crate) fn is_property_of(setting: &Setting, key: &str) -> bool {
    let is_lmi = |name: &&str| match name.strip_prefix("OPTION_") {
        Some(rest) => key.strip_prefix("option.") == Some(rest.to_lowercase().as_str()),
        None => name.strip_prefix("SERVING_").is_some_and(|rest| key == rest.to_lowercase()),
    };
    key == setting.key || setting.environment.iter().any(is_lmi)
}

#[cfg(test)]
mod tests;
