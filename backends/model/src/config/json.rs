//! A `config.json` of Hugging Face as `Facts`.
//!
//! Where it is silent, the defaults of its own class count (`class.rs`); what nobody knows is
//! refused (`keys.rs`). How positions are rotated is in `json_rope.rs`.

use std::path::Path;

use serde_json::{Map, Value};

use super::class::{self, CLASSES, Class, Windowed};
use super::json_rope::{Rope, ropes};
use super::keys::{check, refused};
use super::{FAMILIES, Facts, Family, LAYERS_MAX, SIZE_MAX, cut_fused, decoder, known};
use crate::graph::Pair;
use crate::weights::Weights;
use crate::{Decoder, ModelError};

/// Reads the configuration, cuts the weights as the graph names them, and gives the context length.
/// The weights already have canonical names.
pub(crate) fn from_json(
    config: &Config<'_>,
    weights: &mut Weights,
) -> Result<(Decoder, u32), ModelError> {
    let facts = facts(config)?;
    cut_fused(&facts, weights);
    if !config.is_tied()? && weights.get("output.weight").is_none() {
        let why = "tensor lm_head.weight is missing, and tie_word_embeddings is false".to_owned();
        return Err(ModelError::Broken { path: config.path.to_owned(), why });
    }
    let decoder = decoder(&facts, weights, config.path)?;
    Ok((decoder, facts.context))
}

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

    fn flag(&self, key: &str, default: bool) -> Result<bool, ModelError> {
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

    fn size_or(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_size(key)?.unwrap_or(default))
    }

    /// A size that is the class's where the key is absent, and derived where it is null.
    fn derived(
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
    fn window(&self) -> Result<Option<usize>, ModelError> {
        let key = "sliding_window";
        match self.json.get(key) {
            None => Ok(self.class.window),
            Some(value) if value.is_null() || value.as_f64().is_some_and(|x| x <= 0.0) => Ok(None),
            Some(Value::Bool(false)) => Ok(None),
            Some(_) => self.optional_size(key),
        }
    }
}

pub(super) fn facts(c: &Config<'_>) -> Result<Facts, ModelError> {
    let class = c.class;
    let hidden = c.size_or("hidden_size", class.hidden)?;
    let heads = c.size_or("num_attention_heads", class.heads)?;
    let layers = c.size_or("num_hidden_layers", class.layers)?;
    let head_dim = c.derived("head_dim", class.head_dim, (hidden / heads).max(1))?;
    let Rope { dims, theta, scaling, window_theta, window_scaling, context } = ropes(c, head_dim)?;
    let rotated = rotated_layers(c, layers)?;
    let (window, windowed) = windows(c, layers, context, &rotated)?;
    let query_scalar = match class.query_scalar {
        Some(default) => Some(c.float_or("query_pre_attn_scalar", default)?),
        None => None,
    };
    let facts = Facts {
        family: c.family,
        pair: Pair::Halves,
        hidden,
        feed_forward: c.size_or("intermediate_size", class.feed_forward)?,
        layers,
        heads,
        kv_heads: c.derived("num_key_value_heads", class.kv_heads, heads)?,
        head_dim,
        rope_dims: dims,
        rope_theta: theta,
        scaling,
        window_theta,
        window_scaling,
        window,
        windowed,
        rotated,
        // A bias that the class has no place for is not read by it: here it is refused.
        qkv_bias: Some(class.has_qkv_bias),
        attention_scale: query_scalar.map(|scalar| scalar.sqrt().recip()),
        eps: c.float_or("rms_norm_eps", class.eps)?,
        context: u32::try_from(context).unwrap_or(u32::MAX),
    };
    act(c, &facts)?;
    Ok(facts)
}

/// Refuses an activation that is not the family's.
fn act(c: &Config<'_>, facts: &Facts) -> Result<(), ModelError> {
    let known: &[&str] = match facts.family.act {
        crate::graph::Act::Silu => &["silu", "swish"],
        crate::graph::Act::GeluTanh => &["gelu_pytorch_tanh", "gelu_new"],
    };
    let said = ["hidden_activation", "hidden_act"].into_iter().find_map(|key| c.get(key));
    match said.filter(|act| !act.as_str().is_some_and(|act| known.contains(&act))) {
        None => Ok(()),
        Some(act) => Err(ModelError::Unsupported {
            path: c.path.to_owned(),
            what: format!("activation {act}"),
            known: known.join(", "),
        }),
    }
}

/// Which layers rotate; empty for all of them.
fn rotated_layers(c: &Config<'_>, layers: usize) -> Result<Vec<bool>, ModelError> {
    if c.class.windowed != Windowed::Still {
        return Ok(Vec::new());
    }
    let named = flags(c.get("no_rope_layers"), |v| v.as_u64() != Some(0));
    if !named.is_empty() {
        return Ok(named);
    }
    let period = c.size_or("no_rope_layer_interval", 4)?;
    Ok((0..layers.min(LAYERS_MAX)).map(|i| !(i + 1).is_multiple_of(period)).collect())
}

/// The window, and which layers have it; an empty list is all of them.
fn windows(
    c: &Config<'_>,
    layers: usize,
    context: usize,
    rotated: &[bool],
) -> Result<(Option<usize>, Vec<bool>), ModelError> {
    let window = match (c.window()?, c.class.windowed) {
        (Some(window), _) => window,
        // Without a window such layers still rotate their own way: one as long as the context
        // hides nothing.
        (None, Windowed::Period(_)) => context,
        (None, _) => return Ok((None, Vec::new())),
    };
    let layers = 0..layers.min(LAYERS_MAX);
    let is_on = || c.flag("use_sliding_window", false);
    let by_class: Vec<bool> = match c.class.windowed {
        Windowed::Never if window >= context => return Ok((None, Vec::new())),
        Windowed::Never => {
            return Err(c.refused("sliding_window", &window.into(), "no window"));
        }
        Windowed::From(_) | Windowed::Still if !is_on()? => return Ok((None, Vec::new())),
        Windowed::All => Vec::new(),
        Windowed::From(default) => {
            let first = match c.get("max_window_layers") {
                Some(value) => whole(value).and_then(|n| usize::try_from(n).ok()),
                None => Some(default),
            };
            let first = first.ok_or_else(|| broken(c.path, "max_window_layers is no count"))?;
            layers.map(|i| i >= first).collect()
        }
        Windowed::Period(default) => {
            let period = c.size_or("sliding_window_pattern", default)?;
            layers.map(|i| !(i + 1).is_multiple_of(period)).collect()
        }
        Windowed::Still => layers.map(|i| rotated.get(i) == Some(&false)).collect(),
    };
    let named = c.get("layer_types").filter(|_| c.class.keys.contains(&"layer_types"));
    let named = flags(named, |v| v.as_str() == Some("sliding_attention"));
    let windowed = if named.is_empty() { by_class } else { named };
    match windowed.iter().all(|has| !has) && !windowed.is_empty() {
        true => Ok((None, Vec::new())),
        false => Ok((Some(window), windowed)),
    }
}

fn flags(list: Option<&Value>, is: impl Fn(&Value) -> bool) -> Vec<bool> {
    list.and_then(Value::as_array).map(|all| all.iter().map(is).collect()).unwrap_or_default()
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
