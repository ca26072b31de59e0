//! Graph → fused nodes: what devices compute in one piece.
//!
//! An ordered list of rules reads the graph from the front; what no rule takes is refused by name.
//! Next: each backend computes the nodes in its own way (`gimbal-cpu`, `gimbal-cuda`).

use crate::graph::{Act, Graph, Node, Op, RopeId, StateId, Val, WeightId};

/// A fused node.
#[derive(Clone, Debug, PartialEq)]
pub enum Fused {
    /// Rows of the embedding table.
    Embed {
        /// The table.
        table: WeightId,
        /// What its values are multiplied with.
        scale: f32,
    },
    /// An attention block.
    Attention(Attention),
    /// A feed-forward block.
    FeedForward(FeedForward),
    /// Logits.
    Head(Head),
}

impl Fused {
    /// Its variant's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Embed { .. } => "Embed",
            Self::Attention(_) => "Attention",
            Self::FeedForward(_) => "FeedForward",
            Self::Head(_) => "Head",
        }
    }

    /// The matrices it multiplies with; an embedding is only looked up.
    #[must_use]
    pub fn matrices(&self) -> Vec<WeightId> {
        match self {
            Self::Embed { .. } => Vec::new(),
            Self::Attention(node) => [node.qkv.as_slice(), &[node.out]].concat(),
            Self::FeedForward(node) => vec![node.gate, node.up, node.down],
            Self::Head(node) => vec![node.weight],
        }
    }
}

/// A norm's weight and epsilon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// `[cols, 1]`.
    pub weight: WeightId,
    /// Added to the mean square.
    pub eps: f32,
}

/// `x + post(out(attend(rope(q(n)), rope(k(n)), v(n))))` with `n = norm(x)`; `q`, `k` and `v` may
/// have biases, and `q` and `k` may be normalised before they rotate. Absent norms and rotations
/// change nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Of the row, before all else.
    pub norm: Option<Norm>,
    /// Matrices of queries, keys and values.
    pub qkv: [WeightId; 3],
    /// Their biases.
    pub bias: Option<[WeightId; 3]>,
    /// Norms of queries and keys.
    pub qk_norms: Option<QkNorms>,
    /// How queries and keys rotate.
    pub rope: Option<RopeId>,
    /// Where keys and values are kept.
    pub state: StateId,
    /// Query heads.
    pub heads: usize,
    /// Multiplies q·k.
    pub scale: f32,
    /// `c · tanh(s / c)` on the scores.
    pub softcap: Option<f32>,
    /// The output's matrix.
    pub out: WeightId,
    /// Of the output, before it is added.
    pub post: Option<Norm>,
}

/// Norms of queries and of keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QkNorms {
    /// Of each head.
    Head([Norm; 2]),
    /// Of all heads of a row together.
    Row([Norm; 2]),
}

/// `x + post(down(act(gate(n)) · up(n)))` with `n = norm(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForward {
    /// Of the row, before all else.
    pub norm: Option<Norm>,
    /// The matrix of what the activation works on.
    pub gate: WeightId,
    /// The matrix of what that is multiplied with.
    pub up: WeightId,
    /// The activation.
    pub act: Act,
    /// The output's matrix.
    pub down: WeightId,
    /// Of the output, before it is added.
    pub post: Option<Norm>,
}

/// `linear(norm(pick(x)))`; a norm works on single rows, so picking first changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Of the row.
    pub norm: Norm,
    /// The output projection.
    pub weight: WeightId,
}

/// Fuses a whole graph.
///
/// # Errors
/// The first op that no rule takes.
pub fn fuse(graph: &Graph) -> Result<Vec<Fused>, String> {
    let mut cursor = Cursor { graph, at: 0 };
    let Some(Op::Embed(table)) = graph.nodes.first().map(|n| &n.op) else {
        return Err("a graph that does not begin with Embed".to_owned());
    };
    cursor.at = 1;
    let scale = match cursor.next(&[Val(0)]) {
        Some((_, Node { op: Op::Scale(by), .. })) => *by,
        _ => {
            cursor.at = 1;
            1.0
        }
    };
    let mut fused = vec![Fused::Embed { table: *table, scale }];
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

    /// What `read` reads, if it is there; the cursor stays where it is not.
    fn optional<T>(
        &mut self,
        x: Val,
        read: impl Fn(&mut Self, Val) -> Option<(Val, T)>,
    ) -> (Val, Option<T>) {
        let start = self.at;
        match read(self, x) {
            Some((val, found)) => (val, Some(found)),
            None => {
                self.at = start;
                (x, None)
            }
        }
    }

    /// A norm of queries or keys, and the columns it spans.
    fn qk_norm(&mut self, x: Val) -> Option<(Val, (Norm, usize))> {
        match self.next(&[x])? {
            (val, Node { op: Op::RmsNorm { weight, eps, group }, .. }) => {
                Some((val, (Norm { weight: *weight, eps: *eps }, *group)))
            }
            _ => None,
        }
    }

    /// A rotation, and the columns of its heads.
    fn rope(&mut self, x: Val) -> Option<(Val, (RopeId, usize))> {
        match self.next(&[x])? {
            (val, Node { op: Op::Rope { rope, head_dim }, .. }) => Some((val, (*rope, *head_dim))),
            _ => None,
        }
    }

    fn exact(&mut self, op: &Op, args: &[Val]) -> Option<Val> {
        self.next(args).filter(|(_, n)| n.op == *op).map(|(val, _)| val)
    }
}

fn attention(c: &mut Cursor<'_>, x: Val) -> Option<Fused> {
    let (n, norm) = c.optional(x, Cursor::norm);
    let (q, q_weight, q_bias) = c.biased(n)?;
    let (k, k_weight, k_bias) = c.biased(n)?;
    let (v, v_weight, v_bias) = c.biased(n)?;
    let bias = match (q_bias, k_bias, v_bias) {
        (None, None, None) => None,
        (q, k, v) => Some([q?, k?, v?]),
    };
    let columns = [c.graph.node(q).cols, c.graph.node(k).cols];
    let (q, q_norm) = c.optional(q, Cursor::qk_norm);
    let (k, k_norm) = c.optional(k, Cursor::qk_norm);
    let (q, q_rope) = c.optional(q, Cursor::rope);
    let (k, k_rope) = c.optional(k, Cursor::rope);
    let (attended, node) = c.next(&[q, k, v])?;
    let Op::Attend { state, heads, scale, softcap } = node.op else { return None };
    let head_dim = columns[0] / heads;
    let qk_norms = match (q_norm, k_norm) {
        (None, None) => None,
        (Some((q, q_cols)), Some((k, k_cols))) if [q_cols, k_cols] == [head_dim; 2] => {
            Some(QkNorms::Head([q, k]))
        }
        // Biases are added by heads, which is after a norm of the row.
        (Some((q, q_cols)), Some((k, k_cols))) if [q_cols, k_cols] == columns && bias.is_none() => {
            Some(QkNorms::Row([q, k]))
        }
        _ => return None,
    };
    let rope = match (q_rope, k_rope) {
        (None, None) => None,
        (Some(q), Some(k)) if q == k && q.1 == head_dim => Some(q.0),
        _ => return None,
    };
    let (out, out_weight) = c.linear(attended)?;
    let (out, post) = c.optional(out, Cursor::norm);
    c.exact(&Op::Add, &[x, out])?;
    let (qkv, out) = ([q_weight, k_weight, v_weight], out_weight);
    Some(Fused::Attention(Attention {
        norm,
        qkv,
        bias,
        qk_norms,
        rope,
        state,
        heads,
        scale,
        softcap,
        out,
        post,
    }))
}

fn feed_forward(c: &mut Cursor<'_>, x: Val) -> Option<Fused> {
    let (n, norm) = c.optional(x, Cursor::norm);
    let (gated, gate) = c.linear(n)?;
    let (upped, up) = c.linear(n)?;
    let (gated, node) = c.next(&[gated])?;
    let Op::Act(act) = node.op else { return None };
    let both = c.exact(&Op::Mul, &[gated, upped])?;
    let (out, down) = c.linear(both)?;
    let (out, post) = c.optional(out, Cursor::norm);
    c.exact(&Op::Add, &[x, out])?;
    Some(Fused::FeedForward(FeedForward { norm, gate, up, act, down, post }))
}

fn head(c: &mut Cursor<'_>, x: Val) -> Option<Fused> {
    let (n, norm) = c.norm(x)?;
    let picked = c.exact(&Op::Pick, &[n])?;
    let (_, weight) = c.linear(picked)?;
    Some(Fused::Head(Head { norm, weight }))
}
