//! The members of a `config.json`, each as what it must be.
//!
//! Next: `json.rs` for what they mean.

use std::path::Path;

use serde_json::{Map, Value};

use super::class::{self, CLASSES, Class};
use super::family::{FAMILIES, Family};
use super::keys::{check, refused};
use super::{SIZE_MAX, known};
use crate::ModelError;

/// A `config.json`.
pub(crate) struct Config<'a> {
    pub(super) path: &'a Path,
    json: &'a Map<String, Value>,
    pub(crate) family: &'static Family,
    pub(super) class: &'static Class,
}

impl<'a> Config<'a> {
    /// Finds the family and refuses keys that nobody knows.
    pub(crate) fn new(path: &'a Path, json: &'a Value) -> Result<Self, ModelError> {
        let Some(json) = json.as_object() else { return Err(broken(path, "it is no object")) };
        let kind = json.get("model_type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| broken(path, "model_type is missing or no string"))?;
        let unknown = || ModelError::Unsupported {
            path: path.to_owned(),
            what: format!("model_type {kind}"),
            known: known(CLASSES.iter().map(|class| class.model_type)),
        };
        let class = class::class(kind).ok_or_else(unknown)?;
        let is_of = |family: &&Family| family.model_types.contains(&kind);
        let family = FAMILIES.iter().find(is_of).ok_or_else(unknown)?;
        let config = Self { path, json, family, class };
        check(class, json, path)?;
        config.check_values()?;
        Ok(config)
    }

    /// Whether the output projection is the embedding.
    pub(crate) fn is_tied(&self) -> Result<bool, ModelError> {
        self.flag("tie_word_embeddings", self.class.tied)
    }

    /// A value that says something.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key).filter(|v| !v.is_null())
    }

    /// Refuses values of known keys that ask for arithmetic we do not have.
    fn check_values(&self) -> Result<(), ModelError> {
        let is_set = |key: &str| self.get(key).filter(|_| !self.class.unread.contains(&key));
        for key in ["attention_bias", "mlp_bias", "use_bidirectional_attention"] {
            if let Some(value) = is_set(key).filter(|v| **v != Value::Bool(false)) {
                return Err(self.refused(key, value, "false"));
            }
        }
        for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
            if let Some(value) = is_set(key).filter(|v| v.as_f64() != Some(0.0)) {
                return Err(self.refused(key, value, "null"));
            }
        }
        if let Some(value) = self.get("quantization_config") {
            return Err(self.refused("quantization_config", value, "F32, F16, BF16"));
        }
        let kinds = self.get("layer_types").and_then(Value::as_array).into_iter().flatten();
        let is_known = |kind: &&Value| {
            let kind = kind.as_str().unwrap_or_default();
            ["full_attention", "attention", "sliding_attention"].contains(&kind)
        };
        if let Some(kind) = kinds.into_iter().find(|kind| !is_known(kind)) {
            return Err(self.refused("layer_types", kind, "full_attention, sliding_attention"));
        }
        Ok(())
    }

    pub(super) fn refused(&self, key: &str, value: &Value, known: &str) -> ModelError {
        refused(self.path, self.class, key, value, known)
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| {
                broken(self.path, &format!("{key} is {value}, neither true nor false"))
            }),
        }
    }

    /// A size; `None` where the key is absent or null.
    pub(super) fn optional_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match whole(value).filter(|n| (1..=SIZE_MAX).contains(n)) {
            Some(n) => Ok(usize::try_from(n).ok()),
            None => Err(broken(self.path, &format!("{key} is {value}, not 1 to {SIZE_MAX}"))),
        }
    }

    pub(super) fn size_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_size(key)?.unwrap_or(default))
    }

    /// A size that is the class's where the key is absent, and derived where it is null.
    pub(super) fn derived(
        &self,
        key: &str,
        class: Option<usize>,
        derived: usize,
    ) -> Result<usize, ModelError> {
        let absent = !self.json.contains_key(key);
        self.size_or(key, class.filter(|_| absent).unwrap_or(derived))
    }

    pub(super) fn float_or(&self, key: &str, default: f32) -> Result<f32, ModelError> {
        match self.get(key) {
            Some(value) => Ok(float(self.path, key, value)?),
            None => Ok(default),
        }
    }

    /// The window where layers have one; 0 and -1 mean none, as null does.
    pub(super) fn window(&self) -> Result<Option<usize>, ModelError> {
        let key = "sliding_window";
        match self.json.get(key) {
            None => Ok(self.class.window),
            Some(value) if value.is_null() || value.as_f64().is_some_and(|x| x <= 0.0) => Ok(None),
            Some(Value::Bool(false)) => Ok(None),
            Some(_) => self.optional_size(key),
        }
    }
}

/// A whole number, however it is written.
pub(super) fn whole(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to SIZE_MAX")]
    let written =
        |x: f64| (x.fract() == 0.0 && (0.0..=SIZE_MAX as f64).contains(&x)).then_some(x as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(written))
}

/// A positive number.
pub(super) fn float(path: &Path, key: &str, value: &Value) -> Result<f32, ModelError> {
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what is computed with")]
        Some(x) if (x as f32).is_finite() && x as f32 > 0.0 => Ok(x as f32),
        _ => Err(broken(path, &format!("{key} is {value}, not a positive number"))),
    }
}

pub(super) fn broken(path: &Path, why: &str) -> ModelError {
    ModelError::Broken { path: path.to_owned(), why: why.to_owned() }
}
