//! A `config.json` of Hugging Face as `Facts`.
//!
//! Where it is silent, the defaults of its own class count (`class.rs`); what nobody knows is
//! refused (`keys.rs`). How positions are rotated is in `json_rope.rs`.

use serde_json::Value;

use super::class::Windowed;
use super::json_file::{Config, broken, whole};
use super::json_rope::{Rope, ropes};
use super::{Facts, LAYERS_MAX, cut_fused, decoder};
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
