//! Graph → fused nodes → ONNX bytes.
//!
//! An ordered list of rules reads the graph from the front; what no rule takes is refused by name.
//! Next: `onnx.rs` writes the bytes, `ops/` computes the nodes.

mod onnx;

use gimbal_model::graph::{Act, Graph, Node, Op, RopeId, StateId, Val, WeightId};

pub(crate) use onnx::{DOMAIN, write};

/// A fused node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fused {
    Embed { table: WeightId },
    Attention(Attention),
    FeedForward(FeedForward),
    Head(Head),
}

/// A norm's weight and epsilon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Norm {
    pub(crate) weight: WeightId,
    pub(crate) eps: f32,
}

/// `x + out(attend(rope(q(n)), rope(k(n)), v(n)))` with `n = norm(x)`; `q`, `k` and `v` may have
/// biases, and heads of `q` and `k` may be normalised before they rotate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attention {
    pub(crate) norm: Norm,
    pub(crate) qkv: [WeightId; 3],
    pub(crate) bias: Option<[WeightId; 3]>,
    pub(crate) head_norms: Option<[Norm; 2]>,
    pub(crate) rope: RopeId,
    pub(crate) state: StateId,
    pub(crate) heads: usize,
    pub(crate) scale: f32,
    pub(crate) softcap: Option<f32>,
    pub(crate) out: WeightId,
}

/// `x + down(silu(gate(n)) · up(n))` with `n = norm(x)`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FeedForward {
    pub(crate) norm: Norm,
    pub(crate) gate: WeightId,
    pub(crate) up: WeightId,
    pub(crate) down: WeightId,
}

/// `linear(norm(pick(x)))`; a norm works on single rows, so picking first changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) norm: Norm,
    pub(crate) weight: WeightId,
}

/// Fuses a whole graph.
///
/// # Errors
/// The first op that no rule takes.
pub(crate) fn fuse(graph: &Graph) -> Result<Vec<Fused>, String> {
    let mut cursor = Cursor { graph, at: 0 };
    let Some(Op::Embed(table)) = graph.nodes.first().map(|n| &n.op) else {
        return Err("a graph that does not begin with Embed".to_owned());
    };
    let mut fused = vec![Fused::Embed { table: *table }];
    cursor.at = 1;
    while cursor.at < graph.nodes.len() {
        let x = Val(cursor.at - 1);
        let rules: [fn(&mut Cursor<'_>, Val) -> Option<Fused>; 3] = [attention, feed_forward, head];
        let start = cursor.at;
        let taken = rules.iter().find_map(|rule| {
            cursor.at = start;
            rule(&mut cursor, x)
        });
        match taken {
            Some(node) => fused.push(node),
            None => return Err(format!("{:?} at node {start}", graph.nodes[start].op)),
        }
    }
    Ok(fused)
}

/// Reads nodes in order; a rule that fails leaves the cursor anywhere.
struct Cursor<'a> {
    graph: &'a Graph,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next node, if it takes exactly these values.
    fn next(&mut self, args: &[Val]) -> Option<(Val, &'a Node)> {
        let node = self.graph.nodes.get(self.at).filter(|n| n.args == args)?;
        self.at += 1;
        Some((Val(self.at - 1), node))
    }

    fn norm(&mut self, x: Val) -> Option<(Val, Norm)> {
        match self.next(&[x])? {
            (val, Node { op: Op::RmsNorm { weight, eps, group }, cols, .. }) if group == cols => {
                Some((val, Norm { weight: *weight, eps: *eps }))
            }
            _ => None,
        }
    }

    fn linear(&mut self, x: Val) -> Option<(Val, WeightId)> {
        match self.next(&[x])? {
            (val, Node { op: Op::Linear { weight, bias: None }, .. }) => Some((val, *weight)),
            _ => None,
        }
    }

    fn biased(&mut self, x: Val) -> Option<(Val, WeightId, Option<WeightId>)> {
        match self.next(&[x])? {
            (val, Node { op: Op::Linear { weight, bias }, .. }) => Some((val, *weight, *bias)),
            _ => None,
        }
    }

    /// A norm of queries or keys; the cursor stays where there is none.
    fn head_norm(&mut self, x: Val) -> (Val, Option<Norm>) {
        let start = self.at;
        match self.next(&[x]) {
            Some((val, Node { op: Op::RmsNorm { weight, eps, .. }, .. })) => {
                (val, Some(Norm { weight: *weight, eps: *eps }))
            }
            _ => {
                self.at = start;
                (x, None)
            }
        }
    }

    fn exact(&mut self, op: &Op, args: &[Val]) -> Option<Val> {
        self.next(args).filter(|(_, n)| n.op == *op).map(|(val, _)| val)
    }
}

fn attention(c: &mut Cursor<'_>, x: Val) -> Option<Fused> {
    let (n, norm) = c.norm(x)?;
    let (q, q_weight, q_bias) = c.biased(n)?;
    let (k, k_weight, k_bias) = c.biased(n)?;
    let (v, v_weight, v_bias) = c.biased(n)?;
    let bias = match (q_bias, k_bias, v_bias) {
        (None, None, None) => None,
        (q, k, v) => Some([q?, k?, v?]),
    };
    let (q, q_norm) = c.head_norm(q);
    let (k, k_norm) = c.head_norm(k);
    let head_norms = match (q_norm, k_norm) {
        (None, None) => None,
        (q, k) => Some([q?, k?]),
    };
    let (q, node) = c.next(&[q])?;
    let Op::Rope { rope, head_dim } = node.op else { return None };
    let is_of_head = |norm: &Norm| c.graph.weights[norm.weight.0].out == head_dim;
    if !head_norms.iter().flatten().all(is_of_head) {
        return None;
    }
    let k = c.exact(&node.op, &[k])?;
    let (attended, node) = c.next(&[q, k, v])?;
    let Op::Attend { state, heads, scale, softcap } = node.op else { return None };
    let (out, out_weight) = c.linear(attended)?;
    c.exact(&Op::Add, &[x, out])?;
    let qkv = [q_weight, k_weight, v_weight];
    Some(Fused::Attention(Attention {
        norm,
        qkv,
        bias,
        head_norms,
        rope,
        state,
        heads,
        scale,
        softcap,
        out: out_weight,
    }))
}

fn feed_forward(c: &mut Cursor<'_>, x: Val) -> Option<Fused> {
    let (n, norm) = c.norm(x)?;
    let (gated, gate) = c.linear(n)?;
    let (upped, up) = c.linear(n)?;
    let gated = c.exact(&Op::Act(Act::Silu), &[gated])?;
    let both = c.exact(&Op::Mul, &[gated, upped])?;
    let (out, down) = c.linear(both)?;
    c.exact(&Op::Add, &[x, out])?;
    Some(Fused::FeedForward(FeedForward { norm, gate, up, down }))
}

fn head(c: &mut Cursor<'_>, x: Val) -> Option<Fused> {
    let (n, norm) = c.norm(x)?;
    let picked = c.exact(&Op::Pick, &[n])?;
    let (_, weight) = c.linear(picked)?;
    Some(Fused::Head(Head { norm, weight }))
}
