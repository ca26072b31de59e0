//! The decoder-only transformer: configuration in, graph out.
//!
//! One builder for all families; a family is data. No device, layout or rank is known here.
//! Next: `config/` fills the configuration from a model's files.

use crate::graph::{Act, Cut, Graph, Op, RopeId, RopeTable, State, StateId, Val};

/// What differs between the models of all families.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    /// Rows of the embedding.
    pub vocab: usize,
    /// Columns of the residual stream.
    pub hidden: usize,
    /// Columns inside the feed-forward block.
    pub feed_forward: usize,
    /// What each layer does its own way.
    pub layers: Vec<Layer>,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Columns of a head.
    pub head_dim: usize,
    /// Rotary tables of the layers.
    pub ropes: Vec<RopeTable>,
    /// Queries, keys and values have biases (Qwen 2).
    pub qkv_bias: bool,
    /// Queries and keys are normalised before they rotate.
    pub head_norms: Option<HeadNorm>,
    /// Blocks normalise what they read (all but OLMo 2).
    pub pre_norms: bool,
    /// Blocks normalise what they add (Gemma 3, OLMo 2).
    pub post_norms: bool,
    /// Of the feed-forward block's gate.
    pub act: Act,
    /// Multiplies embeddings (Gemma).
    pub embed_scale: Option<f32>,
    /// Multiplies scores; `None` is the inverse root of `head_dim` (all but Gemma 3).
    pub attention_scale: Option<f32>,
    /// Epsilon of all norms.
    pub eps: f32,
    /// True when the output projection is the embedding.
    pub tied: bool,
}

/// How a layer attends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Positions attended to, counting the row's own; `None` is all.
    pub window: Option<usize>,
    /// Which of `Decoder::ropes` rotates queries and keys; `None` leaves them (SmolLM3).
    pub rope: Option<usize>,
}

/// What a norm of queries and keys spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadNorm {
    /// Each head (Qwen 3, Gemma 3).
    Head,
    /// All heads of a row together (OLMo 2).
    Row,
}

/// Builds the graph of a decoder.
///
/// **Shape** of the result: `[outputs, vocab]` logits.
#[must_use]
pub fn decoder(c: &Decoder) -> Graph {
    let mut g = Graph { ropes: c.ropes.clone(), ..Graph::default() };
    let table = g.weight("token_embd.weight", c.vocab, c.hidden, Cut::Vocab);
    let mut x = g.add(Op::Embed(table), &[]);
    if let Some(by) = c.embed_scale {
        x = g.add(Op::Scale(by), &[x]);
    }
    for (i, layer) in c.layers.iter().enumerate() {
        let attended = attention(&mut g, c, i, *layer, x);
        x = g.add(Op::Add, &[x, attended]);
        let fed = feed_forward(&mut g, c, i, x);
        x = g.add(Op::Add, &[x, fed]);
    }
    let x = norm(&mut g, c, "output_norm", x);
    let x = g.add(Op::Pick, &[x]);
    let weight =
        if c.tied { table } else { g.weight("output.weight", c.vocab, c.hidden, Cut::Vocab) };
    g.add(Op::Linear { weight, bias: None }, &[x]);
    g
}

fn attention(g: &mut Graph, c: &Decoder, i: usize, layer: Layer, x: Val) -> Val {
    let name = |s: &str| format!("blk.{i}.{s}");
    let heads = Cut::Out { unit: c.head_dim };
    let x = if c.pre_norms { norm(g, c, &name("attn_norm"), x) } else { x };
    let project = if c.qkv_bias { biased } else { linear };
    let mut q = project(g, &name("attn_q"), c.heads * c.head_dim, heads, x);
    let mut k = project(g, &name("attn_k"), c.kv_heads * c.head_dim, heads, x);
    let v = project(g, &name("attn_v"), c.kv_heads * c.head_dim, heads, x);
    if let Some(kind) = c.head_norms {
        q = head_norm(g, c, kind, &name("attn_q_norm"), q);
        k = head_norm(g, c, kind, &name("attn_k_norm"), k);
    }
    if let Some(rope) = layer.rope {
        let rope = Op::Rope { rope: RopeId(rope), head_dim: c.head_dim };
        (q, k) = (g.add(rope.clone(), &[q]), g.add(rope, &[k]));
    }
    let (kv_heads, head_dim, window) = (c.kv_heads, c.head_dim, layer.window);
    g.states.push(State::Kv { kv_heads, head_dim, window });
    let state = StateId(g.states.len() - 1);
    let scale = c.attention_scale.unwrap_or_else(|| (c.head_dim as f32).sqrt().recip());
    let attend = Op::Attend { state, heads: c.heads, scale, softcap: None };
    let a = g.add(attend, &[q, k, v]);
    let out = linear(g, &name("attn_output"), c.hidden, Cut::In { unit: c.head_dim }, a);
    if c.post_norms { norm(g, c, &name("post_attention_norm"), out) } else { out }
}

fn feed_forward(g: &mut Graph, c: &Decoder, i: usize, x: Val) -> Val {
    let name = |s: &str| format!("blk.{i}.{s}");
    let x = if c.pre_norms { norm(g, c, &name("ffn_norm"), x) } else { x };
    let gate = linear(g, &name("ffn_gate"), c.feed_forward, Cut::Out { unit: 1 }, x);
    let up = linear(g, &name("ffn_up"), c.feed_forward, Cut::Out { unit: 1 }, x);
    let gate = g.add(Op::Act(c.act), &[gate]);
    let both = g.add(Op::Mul, &[gate, up]);
    let out = linear(g, &name("ffn_down"), c.hidden, Cut::In { unit: 1 }, both);
    if c.post_norms { norm(g, c, &name("post_ffw_norm"), out) } else { out }
}

fn linear(g: &mut Graph, name: &str, out: usize, cut: Cut, x: Val) -> Val {
    let inp = g.node(x).cols;
    let weight = g.weight(&format!("{name}.weight"), out, inp, cut);
    g.add(Op::Linear { weight, bias: None }, &[x])
}

fn biased(g: &mut Graph, name: &str, out: usize, cut: Cut, x: Val) -> Val {
    let inp = g.node(x).cols;
    let weight = g.weight(&format!("{name}.weight"), out, inp, cut);
    let bias = Some(g.weight(&format!("{name}.bias"), out, 1, cut));
    g.add(Op::Linear { weight, bias }, &[x])
}

fn head_norm(g: &mut Graph, c: &Decoder, kind: HeadNorm, name: &str, x: Val) -> Val {
    let (group, cut) = match kind {
        HeadNorm::Head => (c.head_dim, Cut::Whole),
        HeadNorm::Row => (g.node(x).cols, Cut::Out { unit: c.head_dim }),
    };
    let weight = g.weight(&format!("{name}.weight"), group, 1, cut);
    g.add(Op::RmsNorm { weight, eps: c.eps, group }, &[x])
}

fn norm(g: &mut Graph, c: &Decoder, name: &str, x: Val) -> Val {
    let weight = g.weight(&format!("{name}.weight"), c.hidden, 1, Cut::Whole);
    g.add(Op::RmsNorm { weight, eps: c.eps, group: c.hidden }, &[x])
}

#[cfg(test)]
pub(crate) fn tiny() -> Decoder {
    Decoder {
        vocab: 97,
        hidden: 32,
        feed_forward: 64,
        layers: vec![Layer { window: None, rope: Some(0) }; 2],
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        ropes: vec![RopeTable::plain(1e4, 8, crate::graph::Pair::Adjacent)],
        qkv_bias: false,
        head_norms: None,
        pre_norms: true,
        post_norms: false,
        act: Act::Silu,
        embed_scale: None,
        attention_scale: None,
        eps: 1e-5,
        tied: true,
    }
}
