//! Layers: built-in < environment < flags. Each value knows where it came from and what it beat.
//!
//! Inherited foreign variables are read where the table names them and otherwise left alone; an
//! unknown `GIMBAL_*` variable is an error, because it is ours and means nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::table::{Kind, Setting, TABLE, Value, find};
use crate::{SettingError, nearest};

/// Prefix of our variables.
const PREFIX: &str = "GIMBAL_";
/// Variables of ours that are no settings: test harnesses and replay seeds.
const NOT_SETTINGS: [&str; 2] = ["GIMBAL_SEED", "GIMBAL_TEST_MODEL"];

/// What defaults depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The process runs in a container or under SageMaker.
    pub in_container: bool,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything; the table's reason.
    Default(&'static str),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(why) => write!(f, "default: {why}"),
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
}

impl Settings {
    /// Resolves every setting of the table.
    ///
    /// # Errors
    /// An unknown name of ours, or a value that is not legal, with its source.
    pub fn resolve(
        facts: &Facts,
        environment: &[(String, String)],
        flags: &[(String, String)],
    ) -> Result<Self, SettingError> {
        check_names(environment, flags)?;
        let mut entries = BTreeMap::new();
        for setting in TABLE {
            let (value, why) = (setting.default)(facts);
            let mut entry = Entry { value, source: Source::Default(why), overrode: Vec::new() };
            if let Some((name, text)) = from_environment(setting, environment) {
                entry.beat(setting, text, Source::Environment(name.to_owned()))?;
            }
            for (name, text) in flags.iter().filter(|(name, _)| is_flag_of(setting, name)) {
                entry.beat(setting, text, Source::Flag(name.clone()))?;
            }
            entries.insert(setting.key, entry);
        }
        Ok(Self { entries })
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

impl Entry {
    fn beat(&mut self, setting: &Setting, text: &str, source: Source) -> Result<(), SettingError> {
        let value = parse(setting, text).map_err(|expected| SettingError::Illegal {
            key: setting.key,
            value: text.to_owned(),
            from: source.clone(),
            expected,
        })?;
        let old = (
            std::mem::replace(&mut self.value, value),
            std::mem::replace(&mut self.source, source),
        );
        self.overrode.push(old);
        Ok(())
    }
}

fn parse(setting: &Setting, text: &str) -> Result<Value, String> {
    match setting.kind {
        Kind::Text if text.is_empty() => Err("it must not be empty".to_owned()),
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Choice(words) => Err(format!("it must be one of {}", words.join(", "))),
        Kind::Flag => match text {
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

/// A flag's name as it was given: `-` counts as `_`.
fn is_flag_of(setting: &Setting, name: &str) -> bool {
    name.replace('-', "_") == setting.key
}

fn own_name(setting: &Setting) -> String {
    format!("{PREFIX}{}", setting.key.to_uppercase())
}

fn from_environment<'a>(
    setting: &Setting,
    environment: &'a [(String, String)],
) -> Option<(&'a str, &'a str)> {
    let own = own_name(setting);
    let names = std::iter::once(own.as_str()).chain(setting.environment.iter().copied());
    names.into_iter().find_map(|name| {
        let (name, text) = environment.iter().find(|(n, text)| n == name && !text.is_empty())?;
        Some((name.as_str(), text.as_str()))
    })
}

fn check_names(
    environment: &[(String, String)],
    flags: &[(String, String)],
) -> Result<(), SettingError> {
    for (name, _) in flags {
        if find(name).is_none() {
            let nearest = nearest(&name.replace('-', "_"), TABLE.iter().map(|s| s.key));
            let nearest = nearest.map(|key| format!("--{}", key.replace('_', "-")));
            return Err(SettingError::Unknown { given: format!("flag --{name}"), nearest });
        }
    }
    let own: Vec<String> = TABLE.iter().map(own_name).collect();
    for (name, _) in environment {
        let is_ours = name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str());
        if is_ours && !own.contains(name) {
            let nearest = nearest(name, own.iter().map(String::as_str)).map(str::to_owned);
            return Err(SettingError::Unknown { given: format!("environment {name}"), nearest });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    fn error(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
        let facts = Facts::default();
        match Settings::resolve(&facts, &pairs(environment), &pairs(flags)) {
            Ok(_) => "no error".to_owned(),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn later_layers_win_and_remember_what_they_beat() {
        let environment =
            [("OPTION_MAX_ROLLING_BATCH_SIZE", "8"), ("PATH", "/bin"), ("GIMBAL_PORT", "81")];
        let flags = [("max-rolling-batch-size", "4")];
        let settings = Settings::resolve(&Facts::default(), &pairs(&environment), &pairs(&flags))
            .expect("all legal");
        let entry = settings.entry("max_rolling_batch_size");
        assert_eq!(entry.value, Value::Integer(4));
        assert_eq!(entry.source.to_string(), "flag --max-rolling-batch-size");
        let beaten: Vec<String> =
            entry.overrode.iter().map(|(v, s)| format!("{v} ({s})")).collect();
        assert_eq!(
            beaten,
            ["32 (default: LMI's default)", "8 (environment OPTION_MAX_ROLLING_BATCH_SIZE)"]
        );
        assert_eq!(settings.integer("port"), Some(81));
        assert_eq!(settings.text("host"), Some("127.0.0.1"));
    }

    #[test]
    fn own_names_must_exist_and_foreign_ones_may_be_anything() {
        assert_eq!(
            error(&[], &[("ports", "1")]),
            "flag --ports does not exist; did you mean --port?"
        );
        let expect =
            "environment GIMBAL_JOB_QUEUE_SISE does not exist; did you mean GIMBAL_JOB_QUEUE_SIZE?";
        assert_eq!(error(&[("GIMBAL_JOB_QUEUE_SISE", "1")], &[]), expect);
        assert_eq!(error(&[("OPTION_NO_SUCH", "1"), ("SERVING_X", "")], &[]), "no error");
    }

    #[test]
    fn illegal_values_name_key_source_and_range() {
        let expect = "port = \"x\" (from environment GIMBAL_PORT): it must be a whole number from 0 to 65535";
        assert_eq!(error(&[("GIMBAL_PORT", "x")], &[]), expect);
        let expect =
            "log_format = \"xml\" (from flag --log-format): it must be one of auto, text, json";
        assert_eq!(error(&[], &[("log-format", "xml")]), expect);
    }

    #[test]
    fn keys_are_unique_and_defaults_are_legal() {
        for (i, setting) in TABLE.iter().enumerate() {
            assert!(TABLE[..i].iter().all(|s| s.key != setting.key), "{}", setting.key);
            let (value, _) = (setting.default)(&Facts::default());
            if value != Value::Auto {
                assert_eq!(parse(setting, &value.to_string()), Ok(value), "{}", setting.key);
            }
        }
    }
}
