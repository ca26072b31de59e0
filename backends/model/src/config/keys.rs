//! Which keys of a `config.json` are known, by name: those that are computed with, those that
//! cannot change a number, and those of other classes that may only say "none".
//!
//! Every other key that says anything is refused by name: a file that asks for arithmetic we do not
//! have is never computed approximately. Next: `harmless.rs` (the names), `json.rs` (the reader).

use std::path::Path;

use serde_json::{Map, Value};

use super::class::Class;
use super::harmless::{ENDINGS, HARMLESS, NEUTRAL, Neutral, ROPE, STARTS};
use crate::ModelError;

/// Keys that every class computes with or checks.
const COMMON: [&str; 20] = [
    "attention_bias",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "quantization_config",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
];

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The reader computes with it or checks it.
    Read,
    /// No value of it changes a number.
    Harmless,
    /// Another class's; only some values mean that it is not used. With what those are.
    Neutral(Neutral),
    /// Nobody knows it.
    No,
}

/// What is known of a top-level key.
pub(super) fn known(class: &Class, key: &str) -> Known {
    if class.unread.contains(&key) {
        return Known::Harmless;
    }
    if COMMON.contains(&key) || class.keys.contains(&key) {
        return Known::Read;
    }
    if let Some((_, neutral)) = NEUTRAL.iter().find(|(name, _)| *name == key) {
        return Known::Neutral(*neutral);
    }
    let by_part = STARTS.iter().any(|part| key.starts_with(part))
        || ENDINGS.iter().any(|part| key.ends_with(part));
    if by_part || HARMLESS.binary_search(&key).is_ok() { Known::Harmless } else { Known::No }
}

/// What is known of a member of `rope_scaling` or `rope_parameters`.
pub(super) fn known_rope(key: &str) -> Known {
    if ROPE.contains(&key) { Known::Read } else { Known::No }
}

/// Refuses the first key that is neither known nor says "none".
pub(super) fn check(
    class: &Class,
    config: &Map<String, Value>,
    path: &Path,
) -> Result<(), ModelError> {
    for (key, value) in config {
        let neutral = match known(class, key) {
            Known::Read | Known::Harmless => continue,
            Known::Neutral(neutral) => neutral,
            Known::No => Neutral::Nothing,
        };
        // Of what is on by default, false says something.
        let is_off = value.as_bool() == Some(false) && neutral == Neutral::True;
        if (is_off || !says_nothing(value)) && !neutral.allows(value) {
            return Err(refused(path, class, key, value, neutral.name()));
        }
    }
    for outer in ["rope_scaling", "rope_parameters"] {
        if let Some(Value::Object(members)) = config.get(outer) {
            check_rope(class, outer, members, path)?;
        }
    }
    Ok(())
}

fn check_rope(
    class: &Class,
    outer: &str,
    members: &Map<String, Value>,
    path: &Path,
) -> Result<(), ModelError> {
    for (key, value) in members {
        let name = format!("{outer}.{key}");
        match (key.as_str(), value) {
            ("full_attention" | "sliding_attention", Value::Object(inner)) if class.is_nested => {
                check_rope(class, &name, inner, path)?;
            }
            ("mrope_section", _) if !says_nothing(value) => {
                return Err(refused(path, class, &name, value, "no such key"));
            }
            (key, value) if known_rope(key) == Known::No && !says_nothing(value) => {
                return Err(refused(path, class, &name, value, &ROPE.join(", ")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Null, false and what is empty: a key that is not used.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    }
}

/// A key whose value is not supported; long values are cut.
pub(super) fn refused(
    path: &Path,
    class: &Class,
    key: &str,
    value: &Value,
    known: &str,
) -> ModelError {
    let mut shown = value.to_string();
    if let Some((at, _)) = shown.char_indices().nth(60) {
        shown.truncate(at);
        shown.push('…');
    }
    let what = format!("{key} = {shown} for model_type {}", class.model_type);
    ModelError::Unsupported { path: path.to_owned(), what, known: known.to_owned() }
}
