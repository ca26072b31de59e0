//! The decoder-only transformer: configuration in, graph out.
//!
//! One builder for all families; a family is data. No device, layout or rank is known here.
//! Next: `config.rs` fills the configuration from a model file.

use crate::graph::{Act, Cut, Graph, Op, Pair, RopeId, RopeTable, State, StateId, Val};

/// What differs between the models of the family.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    /// Rows of the embedding.
    pub vocab: usize,
    /// Columns of the residual stream.
    pub hidden: usize,
    /// Columns inside the feed-forward block.
    pub feed_forward: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Columns of a head.
    pub head_dim: usize,
    /// Columns of a head that rotate.
    pub rope_dims: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f32,
    /// Which columns rotate together.
    pub rope_pair: Pair,
    /// Divides the frequency of each pair (`rope_freqs.weight` of Llama 3); empty for none.
    pub rope_factors: Vec<f32>,
    /// Queries, keys and values have biases (Qwen2).
    pub qkv_bias: bool,
    /// Each head of queries and keys is normalised (Qwen3).
    pub head_norms: bool,
    /// Epsilon of all norms.
    pub eps: f32,
    /// True when the output projection is the embedding.
    pub tied: bool,
}

/// Builds the graph of a decoder.
///
/// **Shape** of the result: `[outputs, vocab]` logits.
#[must_use]
pub fn decoder(c: &Decoder) -> Graph {
    let mut g = Graph::default();
    let mut rope = RopeTable::plain(c.rope_theta, c.rope_dims, c.rope_pair);
    rope.frequencies.iter_mut().zip(&c.rope_factors).for_each(|(f, by)| *f /= by);
    g.ropes.push(rope);
    let table = g.weight("token_embd.weight", c.vocab, c.hidden, Cut::Whole);
    let mut x = g.add(Op::Embed(table), &[]);
    for layer in 0..c.layers {
        let attended = attention(&mut g, c, layer, x);
        x = g.add(Op::Add, &[x, attended]);
        let fed = feed_forward(&mut g, c, layer, x);
        x = g.add(Op::Add, &[x, fed]);
    }
    let x = norm(&mut g, c, "output_norm", x);
    let x = g.add(Op::Pick, &[x]);
    let weight =
        if c.tied { table } else { g.weight("output.weight", c.vocab, c.hidden, Cut::Whole) };
    g.add(Op::Linear { weight, bias: None }, &[x]);
    g
}

fn attention(g: &mut Graph, c: &Decoder, layer: usize, x: Val) -> Val {
    let name = |s: &str| format!("blk.{layer}.{s}");
    let heads = Cut::Out { unit: c.head_dim };
    let x = norm(g, c, &name("attn_norm"), x);
    let project = if c.qkv_bias { biased } else { linear };
    let q = project(g, &name("attn_q"), c.heads * c.head_dim, heads, x);
    let k = project(g, &name("attn_k"), c.kv_heads * c.head_dim, heads, x);
    let v = project(g, &name("attn_v"), c.kv_heads * c.head_dim, heads, x);
    let (q, k) = if c.head_norms {
        (head_norm(g, c, &name("attn_q_norm"), q), head_norm(g, c, &name("attn_k_norm"), k))
    } else {
        (q, k)
    };
    let rope = Op::Rope { rope: RopeId(0), head_dim: c.head_dim };
    let (q, k) = (g.add(rope.clone(), &[q]), g.add(rope, &[k]));
    g.states.push(State::Kv { kv_heads: c.kv_heads, head_dim: c.head_dim, window: None });
    let state = StateId(g.states.len() - 1);
    let scale = (c.head_dim as f32).sqrt().recip();
    let attend = Op::Attend { state, heads: c.heads, scale, softcap: None };
    let a = g.add(attend, &[q, k, v]);
    linear(g, &name("attn_output"), c.hidden, Cut::In { unit: c.head_dim }, a)
}

fn feed_forward(g: &mut Graph, c: &Decoder, layer: usize, x: Val) -> Val {
    let name = |s: &str| format!("blk.{layer}.{s}");
    let x = norm(g, c, &name("ffn_norm"), x);
    let gate = linear(g, &name("ffn_gate"), c.feed_forward, Cut::Out { unit: 1 }, x);
    let up = linear(g, &name("ffn_up"), c.feed_forward, Cut::Out { unit: 1 }, x);
    let gate = g.add(Op::Act(Act::Silu), &[gate]);
    let both = g.add(Op::Mul, &[gate, up]);
    linear(g, &name("ffn_down"), c.hidden, Cut::In { unit: 1 }, both)
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

fn head_norm(g: &mut Graph, c: &Decoder, name: &str, x: Val) -> Val {
    let weight = g.weight(&format!("{name}.weight"), c.head_dim, 1, Cut::Whole);
    g.add(Op::RmsNorm { weight, eps: c.eps, group: c.head_dim }, &[x])
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
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        rope_dims: 8,
        rope_theta: 1e4,
        rope_pair: Pair::Adjacent,
        rope_factors: Vec::new(),
        qkv_bias: false,
        head_norms: false,
        eps: 1e-5,
        tied: true,
    }
}
