//! Configuration files as lines of `key = value`: our YAML, LMI's `serving.properties`, and
//! Transformers' `generation_config.json`.
//!
//! Only syntax is judged here; what a key means, and whether its writer may say it, is decided in
//! `resolve.rs`. Next: `properties.rs`, Java's syntax.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::Spanned;

use crate::SettingError;
use crate::properties::properties;

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Our YAML: one flat map of settings.
    Yaml,
    /// LMI's `serving.properties`.
    Properties,
    /// Transformers' `generation_config.json`: a model's own sampling defaults.
    GenerationConfig,
}

/// Who wrote a file, and so what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Who made or started this program: all of it counts, and a mistake is an error.
    Operator,
    /// The same, but of a folder that may be a model's, or for a command that only looks: what it
    /// names is not loaded and run.
    Examined,
    /// Whoever made the model: what concerns the model and names nothing outside its folder. The
    /// rest is ignored aloud, and no mistake stops a boot.
    Model,
}

/// A file's name and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path, for messages; what a model's file names lies in the same folder.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is written in.
    pub format: Format,
    /// Who wrote it.
    pub origin: Origin,
    /// The model whose section of our YAML counts; `None` takes what holds for all.
    pub section: Option<String>,
}

/// One entry of a file.
pub(crate) struct Line {
    pub(crate) key: String,
    /// What it says, or why that cannot be read.
    pub(crate) value: Result<String, &'static str>,
    pub(crate) line: u32,
}

/// A YAML value that a setting can hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Flag(bool),
    Integer(u64),
    Number(f64),
    Text(String),
}

/// Entries of a map, each where it stands.
type Entries = Vec<(String, Spanned<Scalar>)>;

/// Our YAML: settings for all, and `models` by name.
#[derive(Default)]
struct Own {
    all: Entries,
    models: Vec<(String, Entries)>,
}

/// The key below which models stand.
const MODELS: &str = "models";

impl<'de> Deserialize<'de> for Own {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Own;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of settings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Own, M::Error> {
                let mut own = Own::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == MODELS {
                        let models: BTreeMap<String, BTreeMap<String, Spanned<Scalar>>> =
                            map.next_value()?;
                        let entries = |(name, map): (String, BTreeMap<_, _>)| {
                            (name, map.into_iter().collect::<Entries>())
                        };
                        own.models = models.into_iter().map(entries).collect();
                    } else {
                        own.all.push((key, map.next_value()?));
                    }
                }
                Ok(own)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// True for a file of comments.
fn is_empty(text: &str) -> bool {
    text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
}

impl ConfigFile {
    /// All entries, in order of the lines.
    pub(crate) fn lines(&self) -> Result<Vec<Line>, SettingError> {
        match self.format {
            Format::Properties => Ok(properties(&self.bytes)),
            Format::Yaml => self.yaml(self.text()?),
            Format::GenerationConfig => self.generation_config(self.text()?),
        }
    }

    fn text(&self) -> Result<&str, SettingError> {
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes);
        std::str::from_utf8(bytes).map_err(|error| self.broken(&error))
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> SettingError {
        SettingError::File { path: self.path.clone(), why: why.to_string() }
    }

    fn yaml(&self, text: &str) -> Result<Vec<Line>, SettingError> {
        if is_empty(text) {
            return Ok(Vec::new());
        }
        let Own { all, models } = self.own(text)?;
        let entries = match &self.section {
            None => all,
            Some(name) => {
                models.into_iter().find(|(n, _)| n == name).map_or_else(Vec::new, |m| m.1)
            }
        };
        let line = |(key, value): (String, Spanned<Scalar>)| {
            let line = value.referenced.line();
            let value = match value.value {
                Scalar::Flag(flag) => flag.to_string(),
                Scalar::Integer(n) => n.to_string(),
                Scalar::Number(n) => n.to_string(),
                Scalar::Text(text) => text,
            };
            Line { key, value: Ok(value), line: u32::try_from(line).unwrap_or(u32::MAX) }
        };
        let mut lines: Vec<Line> = entries.into_iter().map(line).collect();
        lines.sort_by_key(|l| l.line);
        Ok(lines)
    }

    /// The models that our YAML names, in its order.
    ///
    /// # Errors
    /// The file is broken.
    pub fn models(&self) -> Result<Vec<String>, SettingError> {
        let text = self.text()?;
        if self.format != Format::Yaml || is_empty(text) {
            return Ok(Vec::new());
        }
        Ok(self.own(text)?.models.into_iter().map(|(name, _)| name).collect())
    }

    fn own(&self, text: &str) -> Result<Own, SettingError> {
        serde_yaml::from_str(text).map_err(|error| {
            self.broken(&format!(
                "{error}; it must be a flat map of settings, and models a map of such maps by name"
            ))
        })
    }

    /// Values of a JSON object as they are written; the line is that of the key. Text of Python's
    /// that is no JSON (a byte order mark, `NaN`) was made JSON by the caller.
    fn generation_config(&self, text: &str) -> Result<Vec<Line>, SettingError> {
        if text.trim().is_empty() {
            return Err(self.broken(&"it is empty"));
        }
        let parsed: Result<BTreeMap<String, serde_json::Value>, _> = serde_json::from_str(text);
        let entries = parsed.map_err(|e| self.broken(&format!("{e}; it must be a JSON object")))?;
        let line = |(key, value): (String, serde_json::Value)| {
            let line = line_of(text, &key);
            Line { key, value: Ok(value.to_string()), line }
        };
        Ok(entries.into_iter().filter(|(_, value)| !value.is_null()).map(line).collect())
    }
}

/// The line on which a key of JSON stands.
pub(crate) fn line_of(text: &str, key: &str) -> u32 {
    let before = text.find(&format!("\"{key}\"")).map_or("", |at| &text[..at]);
    u32::try_from(before.lines().count().max(1)).unwrap_or(u32::MAX)
}
