//! The reference interpreter: naive f32, clear, and the oracle every backend is compared with.
//!
//! It knows no blocks, batches or threads: a sequence's keys and values simply lie in a growing
//! vector. It shares beliefs with its author, so it is itself held to golden vectors of an
//! independent implementation (`tests/golden`). Next: `interp/group.rs` runs sharded graphs.

mod group;

pub use group::Group;

use crate::graph::{Act, Graph, Node, Op, RopeTable, State, WeightId};
use crate::weights::Weights;

/// A matrix as rows.
pub type Matrix = Vec<Vec<f32>>;

/// A graph with its weights as f32 and the state of its sequences.
#[derive(Debug)]
pub struct Interp {
    graph: Graph,
    /// `[weight][out][inp]`.
    weights: Vec<Matrix>,
    /// `[sequence][state][position]`.
    sequences: Vec<Vec<Vec<KeyValue>>>,
    /// Which rank of a group; 0 alone.
    rank: usize,
}

#[derive(Clone, Debug)]
struct KeyValue {
    key: Vec<f32>,
    value: Vec<f32>,
}

/// Consecutive tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Which sequence, from 0; it starts by being used.
    pub sequence: usize,
    /// Its next tokens.
    pub tokens: &'a [u32],
}

struct Row {
    sequence: usize,
    position: usize,
    token: u32,
}

impl Interp {
    /// Reads every weight the graph needs.
    ///
    /// # Panics
    /// If one is missing: `Model::open` has checked them.
    #[must_use]
    pub fn new(graph: &Graph, weights: &Weights) -> Self {
        let read = |w: &crate::graph::Weight| -> Matrix {
            let tensor = weights.get(&w.name).expect("the model has every weight of its graph");
            tensor.to_f32().chunks_exact(w.inp).map(<[f32]>::to_vec).collect()
        };
        Self::with_weights(graph, graph.weights.iter().map(read).collect())
    }

    /// As `new`, with weights given as `[weight][out][inp]`.
    #[must_use]
    pub fn with_weights(graph: &Graph, weights: Vec<Matrix>) -> Self {
        Self { graph: graph.clone(), weights, sequences: Vec::new(), rank: 0 }
    }

    /// Runs the next tokens of some sequences; returns one row for each of `outputs`, which count
    /// rows over all runs.
    ///
    /// # Panics
    /// If the graph is one of several ranks': those run in a [`Group`].
    pub fn forward(&mut self, runs: &[Run<'_>], outputs: &[usize]) -> Matrix {
        let rows = self.rows(runs);
        let mut values: Vec<Matrix> = Vec::with_capacity(self.graph.nodes.len());
        for n in 0..self.graph.nodes.len() {
            let node = self.graph.nodes[n].clone();
            values.push(self.eval(&node, &values, &rows, outputs));
        }
        values.pop().unwrap_or_default()
    }

    /// Places the next tokens of some sequences behind what is kept of them.
    fn rows(&mut self, runs: &[Run<'_>]) -> Vec<Row> {
        let mut rows = Vec::new();
        for run in runs {
            while self.sequences.len() <= run.sequence {
                self.sequences.push(vec![Vec::new(); self.graph.states.len()]);
            }
            let cached = self.sequences[run.sequence].first().map_or(0, Vec::len);
            rows.extend(run.tokens.iter().enumerate().map(|(i, token)| Row {
                sequence: run.sequence,
                position: cached + i,
                token: *token,
            }));
        }
        rows
    }

    fn eval(&mut self, node: &Node, values: &[Matrix], rows: &[Row], outputs: &[usize]) -> Matrix {
        let arg = |i: usize| &values[node.args[i].0];
        match node.op {
            Op::Embed(table) => {
                rows.iter().map(|r| self.weight(table)[r.token as usize].clone()).collect()
            }
            Op::Linear { weight, bias } => {
                linear(arg(0), self.weight(weight), bias.map(|b| self.weight(b)))
            }
            Op::RmsNorm { weight, eps, group } => {
                map_groups(arg(0), group, |x, _| rms_norm(x, self.weight(weight), eps))
            }
            Op::Rope { rope, head_dim } => {
                let table = &self.graph.ropes[rope.0];
                map_groups(arg(0), head_dim, |x, row| rotate(x, table, rows[row].position))
            }
            Op::Attend { .. } => self.attend(node, [arg(0), arg(1), arg(2)], rows),
            Op::Act(act) => map(arg(0), |x| activate(act, x)),
            Op::Add => zip(arg(0), arg(1), |a, b| a + b),
            Op::Mul => zip(arg(0), arg(1), |a, b| a * b),
            Op::Scale(by) => map(arg(0), |x| x * by),
            Op::Softcap(cap) => map(arg(0), |x| cap * (x / cap).tanh()),
            Op::Pick => outputs.iter().map(|row| arg(0)[*row].clone()).collect(),
            Op::EmbedShard(table) => {
                rows.iter().map(|r| self.embed_shard(table, r.token)).collect()
            }
            Op::Bias(bias) => arg(0).iter().map(|x| add_bias(x, self.weight(bias))).collect(),
            Op::MeanSquare => arg(0).iter().map(|x| vec![mean_square(x)]).collect(),
            Op::Normalize { weight, eps } => {
                let row =
                    |(x, m): (&Vec<f32>, &Vec<f32>)| normalize(x, m[0], self.weight(weight), eps);
                arg(0).iter().zip(arg(1)).map(row).collect()
            }
            Op::AllReduce | Op::AllGather { .. } => panic!("{:?}: ranks run in a Group", node.op),
        }
    }

    fn weight(&self, id: WeightId) -> &Matrix {
        &self.weights[id.0]
    }

    /// The row of a token in this rank's slice of the vocabulary; zeros for other ranks' tokens.
    fn embed_shard(&self, table: WeightId, token: u32) -> Vec<f32> {
        let table = self.weight(table);
        let at = (token as usize).checked_sub(self.rank * table.len());
        at.and_then(|at| table.get(at)).cloned().unwrap_or_else(|| vec![0.0; table[0].len()])
    }

    fn attend(&mut self, node: &Node, [q, k, v]: [&Matrix; 3], rows: &[Row]) -> Matrix {
        let Op::Attend { state, heads, scale, softcap } = node.op else { return Vec::new() };
        let State::Kv { kv_heads, head_dim, window } = self.graph.states[state.0];
        for (i, row) in rows.iter().enumerate() {
            let kept = KeyValue { key: k[i].clone(), value: v[i].clone() };
            self.sequences[row.sequence][state.0].push(kept);
        }
        let attend_row = |(i, row): (usize, &Row)| -> Vec<f32> {
            let first = window.map_or(0, |w| (row.position + 1).saturating_sub(w));
            let seen = &self.sequences[row.sequence][state.0][first..=row.position];
            let mut out = Vec::with_capacity(heads * head_dim);
            for head in 0..heads {
                let of_kv = head * kv_heads / heads * head_dim;
                let columns = of_kv..of_kv + head_dim;
                let query = &q[i][head * head_dim..(head + 1) * head_dim];
                let score = |kv: &KeyValue| {
                    let s = dot(query, &kv.key[columns.clone()]) * scale;
                    softcap.map_or(s, |cap| cap * (s / cap).tanh())
                };
                let scores: Vec<f32> = seen.iter().map(score).collect();
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let shares: Vec<f32> = scores.iter().map(|s| (s - most).exp()).collect();
                let total: f32 = shares.iter().sum();
                out.extend(columns.clone().map(|c| {
                    seen.iter()
                        .zip(&shares)
                        .map(|(kv, share)| share / total * kv.value[c])
                        .sum::<f32>()
                }));
            }
            out
        };
        rows.iter().enumerate().map(attend_row).collect()
    }
}

/// Weights outside, rows inside: a weight row is read once for all rows.
fn linear(x: &Matrix, weight: &Matrix, bias: Option<&Matrix>) -> Matrix {
    let mut out = vec![vec![0.0; weight.len()]; x.len()];
    for (o, w) in weight.iter().enumerate() {
        let add = bias.map_or(0.0, |b| b[o][0]);
        for (x, out) in x.iter().zip(&mut out) {
            out[o] = dot(x, w) + add;
        }
    }
    out
}

/// Eight partial sums, so that the compiler can use vectors; still one fixed order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn rms_norm(x: &[f32], weight: &Matrix, eps: f32) -> Vec<f32> {
    normalize(x, mean_square(x), weight, eps)
}

fn add_bias(x: &[f32], bias: &Matrix) -> Vec<f32> {
    x.iter().zip(bias).map(|(x, b)| x + b[0]).collect()
}

fn mean_square(x: &[f32]) -> f32 {
    dot(x, x) / x.len() as f32
}

fn normalize(x: &[f32], mean_square: f32, weight: &Matrix, eps: f32) -> Vec<f32> {
    let scale = (mean_square + eps).sqrt().recip();
    x.iter().zip(weight).map(|(x, w)| x * scale * w[0]).collect()
}

fn rotate(x: &[f32], table: &RopeTable, position: usize) -> Vec<f32> {
    let mut out = x.to_vec();
    let position = u32::try_from(position).expect("positions are below 2^32");
    for (i, (cos, sin)) in table.angles(position).enumerate() {
        let (a, b) = table.columns(i);
        out[a] = x[a] * cos - x[b] * sin;
        out[b] = x[a] * sin + x[b] * cos;
    }
    out
}

fn activate(act: Act, x: f32) -> f32 {
    match act {
        Act::Silu => x / (1.0 + (-x).exp()),
        Act::GeluTanh => 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
    }
}

fn map(m: &Matrix, f: impl Fn(f32) -> f32) -> Matrix {
    m.iter().map(|row| row.iter().map(|x| f(*x)).collect()).collect()
}

fn zip(a: &Matrix, b: &Matrix, f: impl Fn(f32, f32) -> f32) -> Matrix {
    let row = |(x, y): (&Vec<f32>, &Vec<f32>)| x.iter().zip(y).map(|(x, y)| f(*x, *y)).collect();
    a.iter().zip(b).map(row).collect()
}

fn map_groups(m: &Matrix, group: usize, f: impl Fn(&[f32], usize) -> Vec<f32>) -> Matrix {
    let row = |(i, row): (usize, &Vec<f32>)| row.chunks(group).flat_map(|g| f(g, i)).collect();
    m.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{decoder, tiny};

    fn random(graph: &Graph) -> Vec<Matrix> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5
        };
        let matrix = |w: &crate::graph::Weight| {
            (0..w.out).map(|_| (0..w.inp).map(|_| next()).collect()).collect()
        };
        graph.weights.iter().map(matrix).collect()
    }

    #[test]
    fn chunks_and_neighbours_do_not_change_a_row() {
        let graph = decoder(&tiny());
        let tokens: Vec<u32> = (0..12).map(|i| i * 7 % 97).collect();
        let mut alone = Interp::with_weights(&graph, random(&graph));
        let expect = alone.forward(&[Run { sequence: 0, tokens: &tokens }], &[11]);
        let mut mixed = Interp::with_weights(&graph, random(&graph));
        mixed.forward(&[Run { sequence: 1, tokens: &tokens[..5] }], &[4]);
        let runs =
            [Run { sequence: 0, tokens: &tokens[3..6] }, Run { sequence: 1, tokens: &tokens[5..] }];
        assert_eq!(mixed.forward(&runs, &[9]), expect);
    }
}
