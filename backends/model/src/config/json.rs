//! A `config.json` of Hugging Face as `Facts`, and what its tensors are called here.

use std::path::Path;

use serde_json::Value;

use super::rope::KINDS;
use super::{FAMILIES, Facts, Family, LAYERS_MAX, SIZE_MAX, Scaling, cut_fused, decoder, known};
use crate::graph::{Pair, RopeTable};
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
    let decoder = decoder(&facts, weights, config.path)?;
    Ok((decoder, facts.context))
}

/// The name a tensor has in GGUF, `None` for names of no family we know.
pub(crate) fn canonical_name(family: &Family, name: &str) -> Option<String> {
    let fixed = match name {
        "model.embed_tokens.weight" => "token_embd.weight",
        "model.norm.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        _ => {
            let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
            let (part, kind) = rest.rsplit_once('.')?;
            let part = match part {
                "input_layernorm" => "attn_norm",
                "self_attn.q_proj" => "attn_q",
                "self_attn.k_proj" => "attn_k",
                "self_attn.v_proj" => "attn_v",
                "self_attn.qkv_proj" => "attn_qkv",
                "self_attn.o_proj" => "attn_output",
                "self_attn.q_norm" => "attn_q_norm",
                "self_attn.k_norm" => "attn_k_norm",
                "mlp.gate_proj" => "ffn_gate",
                "mlp.up_proj" | "mlp.gate_up_proj" => "ffn_up",
                "mlp.down_proj" => "ffn_down",
                "post_attention_layernorm" if family.post_norms => "post_attention_norm",
                "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
                "post_feedforward_layernorm" => "post_ffw_norm",
                _ => return None,
            };
            return Some(format!("blk.{layer}.{part}.{kind}"));
        }
    };
    Some(fixed.to_owned())
}

/// True where safetensors store `weight - 1` and GGUF `weight`: all norms of Gemma.
pub(crate) fn has_unit_offset(family: &Family, canonical: &str) -> bool {
    family.gemma && canonical.ends_with("norm.weight")
}

/// A `config.json`.
pub(crate) struct Config<'a> {
    path: &'a Path,
    json: &'a Value,
    pub(crate) family: &'static Family,
}

impl<'a> Config<'a> {
    /// Finds the family.
    pub(crate) fn new(path: &'a Path, json: &'a Value) -> Result<Self, ModelError> {
        let kind = json.get("model_type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| broken(path, "model_type is missing or no string"))?;
        let is_of = |family: &&Family| family.model_types.contains(&kind);
        let family = FAMILIES.iter().find(is_of).ok_or_else(|| ModelError::Unsupported {
            path: path.to_owned(),
            what: format!("model_type {kind}"),
            known: known(FAMILIES.iter().flat_map(|f| f.model_types.iter().copied())),
        })?;
        for key in ["attn_logit_softcapping", "final_logit_softcapping", "quantization_config"] {
            if json.get(key).is_some_and(|v| !v.is_null()) {
                let (what, known) = (key.to_owned(), format!("models without {key}"));
                return Err(ModelError::Unsupported { path: path.to_owned(), what, known });
            }
        }
        Ok(Self { path, json, family })
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key).filter(|v| !v.is_null())
    }

    fn size(&self, key: &str) -> Result<usize, ModelError> {
        self.optional_size(key)?.ok_or_else(|| broken(self.path, &format!("{key} is missing")))
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_u64().filter(|n| (1..=SIZE_MAX).contains(n)) {
            Some(n) => Ok(usize::try_from(n).ok()),
            None => Err(broken(self.path, &format!("{key} is {value}, not 1 to {SIZE_MAX}"))),
        }
    }

    fn float_or(&self, key: &str, default: f32) -> Result<f32, ModelError> {
        float(self.path, self.json, key)?.map_or(Ok(default), Ok)
    }
}

fn facts(c: &Config<'_>) -> Result<Facts, ModelError> {
    let (hidden, heads) = (c.size("hidden_size")?, c.size("num_attention_heads")?);
    let layers = c.size("num_hidden_layers")?;
    let head_dim = c.optional_size("head_dim")?.unwrap_or((hidden / heads).max(1));
    let share = c.float_or("partial_rotary_factor", 1.0)?.min(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to head_dim")]
    let rope_dims = (head_dim as f32 * share) as usize;
    let trained = c.size("max_position_embeddings")?;
    // Transformers 5 nests the parameters, by kind of layer where there are two.
    let nested = c.get("rope_parameters");
    let whole = nested.map(|n| n.get("full_attention").unwrap_or(n));
    let windowed = nested.and_then(|n| n.get("sliding_attention"));
    let theta = |value: Option<&Value>| match value {
        Some(value) => float(c.path, value, "rope_theta"),
        None => Ok(None),
    };
    let rope_theta = match theta(whole)? {
        Some(theta) => theta,
        None => c.float_or("rope_theta", 1e4)?,
    };
    let window_theta = match theta(windowed)? {
        Some(theta) => theta,
        None => {
            let default = if c.family.gemma { 1e4 } else { rope_theta };
            c.float_or("rope_local_base_freq", default)?
        }
    };
    let plain = RopeTable::plain(rope_theta, rope_dims, Pair::Halves);
    let said = whole.or_else(|| c.get("rope_scaling"));
    let (scaling, context) = scaling(c, said, &plain, trained)?;
    let slides = c.get("use_sliding_window").and_then(Value::as_bool).unwrap_or(true);
    let window = if slides { c.optional_size("sliding_window")? } else { None };
    let facts = Facts {
        family: c.family,
        pair: Pair::Halves,
        hidden,
        feed_forward: c.size("intermediate_size")?,
        layers,
        heads,
        kv_heads: c.optional_size("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        rope_dims,
        rope_theta,
        scaling,
        window_theta,
        window,
        windowed: windowed_layers(c, layers),
        rotated: flags(c.get("no_rope_layers"), |v| v.as_u64() != Some(0)),
        eps: c.float_or("rms_norm_eps", 1e-6)?,
        context: u32::try_from(context).unwrap_or(u32::MAX),
    };
    act(c, &facts)?;
    Ok(facts)
}

/// Refuses an activation that is not the family's.
fn act(c: &Config<'_>, facts: &Facts) -> Result<(), ModelError> {
    let known: &[&str] = match facts.family.act {
        crate::graph::Act::Silu => &["silu", "swish"],
        crate::graph::Act::GeluTanh => &["gelu_pytorch_tanh"],
    };
    let said = ["hidden_activation", "hidden_act"].into_iter().find_map(|key| c.get(key)?.as_str());
    match said.filter(|act| !known.contains(act)) {
        None => Ok(()),
        Some(act) => Err(ModelError::Unsupported {
            path: c.path.to_owned(),
            what: format!("activation {act}"),
            known: known.join(", "),
        }),
    }
}

/// Which layers have the window, where the file says so.
fn windowed_layers(c: &Config<'_>, layers: usize) -> Vec<bool> {
    let named = flags(c.get("layer_types"), |v| v.as_str() == Some("sliding_attention"));
    if !named.is_empty() {
        return named;
    }
    let number = |key| c.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let layers = 0..layers.min(LAYERS_MAX);
    if let Some(first) = number("max_window_layers") {
        return layers.map(|i| i >= first).collect();
    }
    match number("sliding_window_pattern").filter(|n| *n > 0) {
        Some(period) => layers.map(|i| !(i + 1).is_multiple_of(period)).collect(),
        None => Vec::new(),
    }
}

fn flags(list: Option<&Value>, is: impl Fn(&Value) -> bool) -> Vec<bool> {
    list.and_then(Value::as_array).map(|all| all.iter().map(is).collect()).unwrap_or_default()
}

/// How frequencies are changed, and the context that is good for. **Source**: Hugging Face
/// `modeling_rope_utils.py`.
fn scaling(
    c: &Config<'_>,
    said: Option<&Value>,
    plain: &RopeTable,
    trained: usize,
) -> Result<(Scaling, usize), ModelError> {
    let Some(said) = said else { return Ok((Scaling::None, trained)) };
    let kind = ["rope_type", "type"].into_iter().find_map(|key| said.get(key)?.as_str());
    let number = |key: &str, default: f32| -> Result<f32, ModelError> {
        float(c.path, said, key)?.map_or(Ok(default), Ok)
    };
    let original = match said.get("original_max_position_embeddings").and_then(Value::as_u64) {
        Some(n) => usize::try_from(n).unwrap_or(trained),
        None => c.optional_size("original_max_position_embeddings")?.unwrap_or(trained),
    };
    let factor = number("factor", 1.0)?;
    let scaling = match kind.unwrap_or("default") {
        "default" => Scaling::None,
        "linear" => Scaling::Linear(factor),
        "llama3" => {
            let bounds = [number("low_freq_factor", 1.0)?, number("high_freq_factor", 4.0)?];
            Scaling::llama3(plain, factor, bounds, original as f32)
        }
        "yarn" => Scaling::Yarn {
            factor,
            original: original as f32,
            fast: number("beta_fast", 32.0)?,
            slow: number("beta_slow", 1.0)?,
            magnitude: number("attention_factor", Scaling::yarn_magnitude(factor))?,
        },
        // The short list is for contexts up to the original; longer ones are not served.
        "longrope" | "su" => {
            let factors = short_factors(c, said, plain.frequencies.len())?;
            let longer = (trained as f32 / original as f32).max(1.0);
            let computed = (1.0 + longer.ln() / (original as f32).ln()).sqrt();
            let magnitude = number("attention_factor", computed)?;
            return Ok((Scaling::Factors { factors, magnitude }, trained.min(original)));
        }
        kind => {
            return Err(ModelError::Unsupported {
                path: c.path.to_owned(),
                what: format!("rope scaling {kind}"),
                known: KINDS.to_owned(),
            });
        }
    };
    Ok((scaling, trained))
}

fn short_factors(c: &Config<'_>, said: &Value, pairs: usize) -> Result<Vec<f32>, ModelError> {
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

fn float(path: &Path, json: &Value, key: &str) -> Result<Option<f32>, ModelError> {
    let Some(value) = json.get(key).filter(|v| !v.is_null()) else { return Ok(None) };
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what is computed with")]
        Some(x) if (x as f32).is_finite() && x as f32 > 0.0 => Ok(Some(x as f32)),
        _ => Err(broken(path, &format!("{key} is {value}, not a positive number"))),
    }
}

fn broken(path: &Path, why: &str) -> ModelError {
    ModelError::Broken { path: path.to_owned(), why: why.to_owned() }
}
