//! How a `config.json` says that positions are rotated: `rope_theta`, `rope_scaling`, and what
//! Transformers 5 nests in `rope_parameters`, by kind of layer where there are two.
//!
//! **Source**: Hugging Face `modeling_rope_utils.py` of Transformers 5, `convert_rope_params_to_dict`
//! and the `_compute_*_parameters`. Tables are computed in `rope.rs`.

use serde_json::{Map, Value};

use super::Scaling;
use super::json_file::{Config, broken, float, whole};
use super::rope::KINDS;
use crate::ModelError;
use crate::graph::{Pair, RopeTable};

/// What the file says of rotation.
pub(super) struct Rope {
    /// Columns of a head that rotate.
    pub(super) dims: usize,
    pub(super) theta: f32,
    pub(super) scaling: Scaling,
    /// Base of layers with a window, and what changes it.
    pub(super) window_theta: f32,
    pub(super) window_scaling: Scaling,
    /// Tokens that this is good for.
    pub(super) context: usize,
}

/// The members that count for one kind of layer, the strongest map first.
#[derive(Clone, Default)]
struct Members<'a>(Vec<&'a Map<String, Value>>);

impl<'a> Members<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.iter().find_map(|map| map.get(key).filter(|v| !v.is_null()))
    }

    /// A member that is not zero.
    fn positive(&self, c: &Config<'_>, key: &str) -> Result<Option<f32>, ModelError> {
        match self.get(key).filter(|v| v.as_f64() != Some(0.0)) {
            Some(value) => float(c.path, key, value).map(Some),
            None => Ok(None),
        }
    }

    fn kind(&self, c: &Config<'_>) -> &'a str {
        let said = ["rope_type", "type"].into_iter().find_map(|key| self.get(key)?.as_str());
        match said.unwrap_or("default") {
            // Names of one kind at different times.
            "su" => "longrope",
            "yarn" if c.class.original.is_some() => "longrope",
            kind => kind,
        }
    }
}

/// Reads everything about rotation.
pub(super) fn ropes(c: &Config<'_>, head_dim: usize) -> Result<Rope, ModelError> {
    let trained = c.optional_size("max_position_embeddings")?.unwrap_or(c.class.context);
    let (scaling, parameters) = (members(c, "rope_scaling")?, members(c, "rope_parameters")?);
    let nested = |kind: &str| parameters.and_then(|p| p.get(kind)?.as_object());
    let (full, windowed): (Vec<_>, Vec<_>) = if c.class.is_nested {
        let full = nested("full_attention").or(parameters);
        (
            scaling.into_iter().chain(full).collect(),
            nested("sliding_attention").into_iter().collect(),
        )
    } else {
        (scaling.or(parameters).into_iter().collect(), Vec::new())
    };
    let (full, windowed) = (Members(full), Members(windowed));
    let theta = match full.get("rope_theta") {
        Some(value) => float(c.path, "rope_theta", value)?,
        None => c.float_or("rope_theta", c.class.theta)?,
    };
    let window_theta = match windowed.get("rope_theta") {
        Some(value) => float(c.path, "rope_theta", value)?,
        None => c.float_or("rope_local_base_freq", c.class.window_theta.unwrap_or(theta))?,
    };
    let dims = rope_dims(c, &full, head_dim)?;
    if !windowed.0.is_empty() && rope_dims(c, &windowed, head_dim)? != dims {
        return Err(broken(c.path, "layers of two kinds rotate different shares of a head"));
    }
    let original = match c.optional_size("original_max_position_embeddings")?.or(c.class.original) {
        Some(original) if !c.class.is_nested => original,
        _ => original(c, &full, trained)?,
    };
    let plain = RopeTable::plain(theta, dims, Pair::Halves);
    let (scaling, context) = compute(c, &full, &plain, [trained, original])?;
    let plain = RopeTable::plain(window_theta, dims, Pair::Halves);
    let original = self::original(c, &windowed, trained)?;
    let (window_scaling, _) = compute(c, &windowed, &plain, [trained, original])?;
    Ok(Rope { dims, theta, scaling, window_theta, window_scaling, context })
}

/// The members of a key; `None` where it says nothing.
fn members<'a>(c: &Config<'a>, key: &str) -> Result<Option<&'a Map<String, Value>>, ModelError> {
    match c.get(key) {
        None => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members).filter(|m| !m.is_empty())),
        Some(other) => Err(broken(c.path, &format!("{key} is {other}, no object"))),
    }
}

fn original(c: &Config<'_>, members: &Members<'_>, trained: usize) -> Result<usize, ModelError> {
    let key = "original_max_position_embeddings";
    let Some(value) = members.get(key) else { return Ok(trained) };
    let found = whole(value).filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok());
    found.ok_or_else(|| broken(c.path, &format!("{key} is {value}, not a positive count")))
}

/// Columns of a head that rotate; only some classes leave any.
fn rope_dims(c: &Config<'_>, members: &Members<'_>, head_dim: usize) -> Result<usize, ModelError> {
    let key = "partial_rotary_factor";
    let Some(value) = members.get(key).or_else(|| c.get(key)) else { return Ok(head_dim) };
    match value.as_f64() {
        Some(1.0) => Ok(head_dim),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "to head_dim")]
        Some(share) if c.class.is_partial && share > 0.0 && share < 1.0 => {
            Ok((head_dim as f64 * share) as usize)
        }
        _ => Err(c.refused(key, value, if c.class.is_partial { "0 to 1" } else { "1" })),
    }
}

/// How frequencies are changed, and the context that is good for.
fn compute(
    c: &Config<'_>,
    said: &Members<'_>,
    plain: &RopeTable,
    [trained, original]: [usize; 2],
) -> Result<(Scaling, usize), ModelError> {
    let kind = said.kind(c);
    let factor = said.positive(c, "factor")?;
    let number = |key: &str, default: f32| -> Result<f32, ModelError> {
        Ok(said.positive(c, key)?.unwrap_or(default))
    };
    Ok(match (kind, factor) {
        // The base grows only for texts longer than any that is served.
        ("default" | "dynamic", _) => (Scaling::None, trained),
        // A factor of 0 means none, as in llama.cpp.
        ("linear", None) => (Scaling::None, trained),
        ("linear", Some(factor)) => {
            let before = if said.get("original_max_position_embeddings").is_some() {
                original
            } else {
                trained
            };
            (Scaling::Linear(factor), lengthened(c, trained, before, factor))
        }
        ("llama3", factor) => {
            let bounds = [number("low_freq_factor", 1.0)?, number("high_freq_factor", 4.0)?];
            let factor = factor.unwrap_or(1.0);
            (Scaling::llama3(plain, factor, bounds, original as f32), trained)
        }
        ("yarn", factor) => {
            let factor = factor.unwrap_or(trained as f32 / original as f32);
            let scaling = Scaling::Yarn {
                factor,
                original: original as f32,
                fast: number("beta_fast", 32.0)?,
                slow: number("beta_slow", 1.0)?,
                magnitude: yarn_magnitude(c, said, factor)?,
                is_whole: said.get("truncate") != Some(&Value::Bool(false)),
            };
            (scaling, lengthened(c, trained, original, factor))
        }
        // The short list is for contexts up to the original; longer ones are not served.
        ("longrope", factor) => {
            let factors = short_factors(c, said, plain.frequencies.len())?;
            let longer = factor.unwrap_or(trained as f32 / original as f32).max(1.0);
            let computed = (1.0 + longer.ln() / (original as f32).ln()).sqrt();
            let magnitude = number("attention_factor", computed)?;
            (Scaling::Factors { factors, magnitude }, trained.min(original))
        }
        (kind, _) => {
            return Err(ModelError::Unsupported {
                path: c.path.to_owned(),
                what: format!("rope scaling {kind}"),
                known: KINDS.to_owned(),
            });
        }
    })
}

/// The attention factor of YaRN as `_compute_yarn_parameters` infers it.
fn yarn_magnitude(c: &Config<'_>, said: &Members<'_>, factor: f32) -> Result<f32, ModelError> {
    if let Some(said) = said.positive(c, "attention_factor")? {
        return Ok(said);
    }
    Ok(match (said.positive(c, "mscale")?, said.positive(c, "mscale_all_dim")?) {
        (Some(one), Some(all)) => {
            Scaling::yarn_magnitude(factor, one) / Scaling::yarn_magnitude(factor, all)
        }
        _ => Scaling::yarn_magnitude(factor, 1.0),
    })
}

/// What a model that was trained for `before` tokens serves with a factor. Gemma's files already
/// say the longer one.
fn lengthened(c: &Config<'_>, trained: usize, before: usize, factor: f32) -> usize {
    if c.family.gemma {
        return trained;
    }
    super::lengthened(trained, before, factor)
}

fn short_factors(c: &Config<'_>, said: &Members<'_>, pairs: usize) -> Result<Vec<f32>, ModelError> {
    let list = said.get("short_factor").and_then(Value::as_array);
    #[expect(clippy::cast_possible_truncation, reason = "f32 is the table's type")]
    let factors: Vec<f32> =
        list.into_iter().flatten().filter_map(|v| v.as_f64().map(|x| x as f32)).collect();
    if factors.len() != pairs || !factors.iter().all(|f| f.is_finite() && *f > 0.0) {
        let why = format!("short_factor is not {pairs} positive numbers");
        return Err(broken(c.path, &why));
    }
    Ok(factors)
}
