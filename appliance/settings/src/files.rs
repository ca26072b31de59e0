//! Configuration files as lines of `key = value`: our YAML, LMI's `serving.properties`, and
//! Transformers' `generation_config.json`.
//!
//! Only syntax is judged here; what a key means, and whether its writer may say it, is decided in
//! `resolve.rs`. Next: `properties.rs`, Java's syntax.

use std::collections::BTreeMap;

use serde::Deserialize;
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
        if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
            return Ok(Vec::new());
        }
        let parsed: Result<BTreeMap<String, Spanned<Scalar>>, _> = serde_yaml::from_str(text);
        let entries = parsed
            .map_err(|error| self.broken(&format!("{error}; it must be a flat map of settings")))?;
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
