//! From what a model's files say to a `Decoder`: families, rotary tables, checks.
//!
//! `gguf.rs` and `json.rs` read their file into `Facts`; this file alone decides what they mean. A
//! model that says something the builder cannot express is refused by name, never approximated:
//! `keys.rs` and `gguf_keys.rs` know the keys, `class.rs` what a silent file means.

mod class;
mod family;
mod gguf;
mod gguf_keys;
mod harmless;
mod json;
mod json_file;
mod json_rope;
mod keys;
mod names;
mod rope;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::decoder::{Decoder, Layer};
use crate::graph::{Graph, Pair};
use crate::weights::Weights;
use crate::{ModelError, graph};

pub(crate) use family::Family;
pub(crate) use gguf::from_gguf;
pub(crate) use gguf_keys::shown;
pub(crate) use json::from_json;
pub(crate) use json_file::Config;
pub(crate) use names::{canonical_name, has_unit_offset, is_no_weight};
pub(crate) use rope::Scaling;

/// Larger sizes than any real model; keeps products far from overflow.
const SIZE_MAX: u64 = 1 << 24;
/// More layers than any real model.
const LAYERS_MAX: usize = 1024;

/// What a model's files say, in one form for both kinds.
pub(crate) struct Facts {
    family: &'static Family,
    pair: Pair,
    hidden: usize,
    feed_forward: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    rope_dims: usize,
    rope_theta: f32,
    scaling: Scaling,
    /// Base of the layers with a window, where theirs is another one, and how it is changed.
    window_theta: f32,
    window_scaling: Scaling,
    window: Option<usize>,
    /// Which layers have the window; empty for the family's period.
    windowed: Vec<bool>,
    /// Which layers rotate; empty for the family's period.
    rotated: Vec<bool>,
    /// Multiplies scores; `None` for the root of a head's columns.
    attention_scale: Option<f32>,
    /// Whether queries, keys and values have biases; `None` where the weights alone say so.
    qkv_bias: Option<bool>,
    eps: f32,
    context: u32,
}

/// The configuration of a model whose weights have canonical names.
fn decoder(facts: &Facts, weights: &Weights, path: &Path) -> Result<Decoder, ModelError> {
    let broken = |why: String| ModelError::Broken { path: path.to_owned(), why };
    let Facts { family, heads, kv_heads, head_dim, .. } = *facts;
    if !heads.is_multiple_of(kv_heads) {
        return Err(broken(format!("{heads} heads over {kv_heads} kv heads")));
    }
    if facts.rope_dims > head_dim || !facts.rope_dims.is_multiple_of(2) {
        return Err(broken(format!("{} of {head_dim} columns rotate", facts.rope_dims)));
    }
    if facts.layers > LAYERS_MAX {
        return Err(broken(format!("{} layers, more than {LAYERS_MAX}", facts.layers)));
    }
    for (what, list) in [("windows", &facts.windowed), ("rotations", &facts.rotated)] {
        if !list.is_empty() && list.len() < facts.layers {
            return Err(broken(format!("{what} of {} of {} layers", list.len(), facts.layers)));
        }
    }
    let embedding = weights.get("token_embd.weight").map(|t| t.rows);
    let vocab = embedding.ok_or_else(|| missing_tensor(path, "token_embd.weight"))?;
    let every = |i: usize, period: usize| period != 0 && (i + 1).is_multiple_of(period);
    let is_windowed =
        |i: usize| facts.windowed.get(i).copied().unwrap_or(!every(i, family.window_period));
    let is_rotated =
        |i: usize| facts.rotated.get(i).copied().unwrap_or(!every(i, family.rope_period));
    let layer = |i: usize| {
        let window = facts.window.filter(|_| is_windowed(i));
        // Layers with a window have their own base and scaling (Gemma 3, OLMo 3).
        let own = usize::from(window.is_some() && family.window_period != 0);
        Layer { window, rope: is_rotated(i).then_some(own) }
    };
    let mut ropes = vec![facts.scaling.table(facts.rope_theta, facts.rope_dims, facts.pair)];
    if facts.window.is_some() && family.window_period != 0 {
        let scaling = &facts.window_scaling;
        ropes.push(scaling.table(facts.window_theta, facts.rope_dims, facts.pair));
    }
    Ok(Decoder {
        vocab,
        hidden: facts.hidden,
        feed_forward: facts.feed_forward,
        layers: (0..facts.layers).map(layer).collect(),
        heads,
        kv_heads,
        head_dim,
        ropes,
        qkv_bias: facts.qkv_bias.unwrap_or_else(|| weights.get("blk.0.attn_q.bias").is_some()),
        head_norms: family.head_norms,
        pre_norms: family.pre_norms,
        post_norms: family.post_norms,
        act: family.act,
        embed_scale: family.gemma.then(|| (facts.hidden as f32).sqrt()),
        attention_scale: facts.attention_scale,
        eps: facts.eps,
        tied: weights.get("output.weight").is_none(),
    })
}

/// Cuts tensors that hold several weights one above the other (Phi-3).
fn cut_fused(facts: &Facts, weights: &mut Weights) {
    let (q, kv) = (facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim);
    for i in 0..facts.layers.min(LAYERS_MAX) {
        let name = |s: &str| format!("blk.{i}.{s}.weight");
        let parts = [(name("attn_q"), q), (name("attn_k"), kv), (name("attn_v"), kv)];
        weights.cut(&name("attn_qkv"), &parts);
        let half = facts.feed_forward;
        if weights.get(&name("ffn_gate")).is_none() {
            weights.cut(&name("ffn_up"), &[(name("ffn_gate"), half), (name("ffn_up"), half)]);
        }
    }
}

/// Checks that the files have every weight of the graph in its shape, and no other.
pub(crate) fn check_weights(
    weights: &Weights,
    graph: &Graph,
    path: &Path,
) -> Result<(), ModelError> {
    let broken = |why: String| ModelError::Broken { path: path.to_owned(), why };
    for w in &graph.weights {
        let t = weights.get(&w.name).ok_or_else(|| missing_tensor(path, &w.name))?;
        let fits = if w.inp == 1 {
            t.rows == 1 && t.cols == w.out
        } else {
            t.rows == w.out && t.cols == w.inp
        };
        if !fits {
            let graph::Weight { name, out, inp, .. } = w;
            return Err(broken(format!(
                "tensor {name} is [{}, {}], the metadata says [{out}, {inp}]",
                t.rows, t.cols
            )));
        }
    }
    let used: std::collections::HashSet<&str> =
        graph.weights.iter().map(|w| w.name.as_str()).collect();
    let mut strange: Vec<&str> =
        weights.entries().map(|(name, _)| name).filter(|n| !used.contains(n)).collect();
    strange.retain(|name| !names::is_read_elsewhere(name));
    strange.sort_unstable();
    match strange.first() {
        Some(name) => Err(ModelError::Unsupported {
            path: path.to_owned(),
            what: format!("tensor {name}, which this architecture has no place for"),
            known: "the architecture's own tensors".to_owned(),
        }),
        None => Ok(()),
    }
}

/// Tokens that a model serves whose frequencies are divided by a factor: it was trained for
/// `before`, and its file may already say the longer length.
fn lengthened(trained: usize, before: usize, factor: f32) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let longer = (before as f64 * f64::from(factor)) as usize;
    trained.max(longer)
}

fn missing_tensor(path: &Path, name: &str) -> ModelError {
    ModelError::Broken { path: path.to_owned(), why: format!("tensor {name} is missing") }
}

fn known(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
