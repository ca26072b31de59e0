//! Configuration files as lines of `key = value`: our YAML, LMI's `serving.properties`, and
//! Transformers' `generation_config.json`.
//!
//! Only syntax is judged here; what a key means is decided in `resolve.rs`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::Spanned;

use crate::SettingError;

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

/// A file's name and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path, for messages.
    pub path: String,
    /// Its text.
    pub text: String,
    /// What it is written in.
    pub format: Format,
}

/// One entry of a file.
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) value: String,
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
            Format::Yaml => self.yaml(),
            Format::Properties => Ok(properties(&self.text)),
            Format::GenerationConfig => self.generation_config(),
        }
    }

    fn yaml(&self) -> Result<Vec<Line>, SettingError> {
        if self.text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
            return Ok(Vec::new());
        }
        let parsed: Result<BTreeMap<String, Spanned<Scalar>>, _> = serde_yaml::from_str(&self.text);
        let entries = parsed.map_err(|error| SettingError::File {
            path: self.path.clone(),
            why: format!("{error}; it must be a flat map of settings"),
        })?;
        let line = |(key, value): (String, Spanned<Scalar>)| {
            let line = value.referenced.line();
            let value = match value.value {
                Scalar::Flag(flag) => flag.to_string(),
                Scalar::Integer(n) => n.to_string(),
                Scalar::Number(n) => n.to_string(),
                Scalar::Text(text) => text,
            };
            Line { key, value, line: u32::try_from(line).unwrap_or(u32::MAX) }
        };
        let mut lines: Vec<Line> = entries.into_iter().map(line).collect();
        lines.sort_by_key(|l| l.line);
        Ok(lines)
    }
}

impl ConfigFile {
    /// Values of a JSON object as they are written; the line is that of the key. Text of Python's
    /// that is no JSON (a byte order mark, `NaN`) was made JSON by the caller.
    fn generation_config(&self) -> Result<Vec<Line>, SettingError> {
        let broken = |why: String| SettingError::File { path: self.path.clone(), why };
        if self.text.trim().is_empty() {
            return Err(broken("it is empty".to_owned()));
        }
        let parsed: Result<BTreeMap<String, serde_json::Value>, _> =
            serde_json::from_str(&self.text);
        let entries = parsed.map_err(|e| broken(format!("{e}; it must be a JSON object")))?;
        let line = |(key, value): (String, serde_json::Value)| {
            let quoted = format!("\"{key}\"");
            let before = self.text.find(&quoted).map_or("", |at| &self.text[..at]);
            let line = u32::try_from(before.lines().count().max(1)).unwrap_or(u32::MAX);
            Line { key, value: value.to_string(), line }
        };
        Ok(entries.into_iter().filter(|(_, value)| !value.is_null()).map(line).collect())
    }
}

/// `key=value` or `key: value`, `#` and `!` comments. **Source**: java.util.Properties, of which
/// LMI's files use no escapes or continued lines.
pub(crate) fn properties(text: &str) -> Vec<Line> {
    let entry = |(i, line): (usize, &str)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            return None;
        }
        let (key, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        Some(Line { key, value, line: u32::try_from(i + 1).unwrap_or(u32::MAX) })
    };
    text.lines().enumerate().filter_map(entry).collect()
}
