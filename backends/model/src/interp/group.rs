//! Ranks of one model, run together in lockstep: the oracle of sharded graphs.
//!
//! Collectives are real: nothing goes from one rank to another but through them, and they add and
//! concatenate in the order of the ranks.

use super::{Interp, Matrix, Row, Run};
use crate::graph::{Node, Op, Weight, WeightId};
use crate::shard::Shards;
use crate::weights::Weights;

/// All ranks of a model, each with its own shards of the weights and of the state.
#[derive(Debug)]
pub struct Group {
    ranks: Vec<Interp>,
}

impl Group {
    /// Reads every rank's shards of the weights.
    ///
    /// # Errors
    /// A weight is missing or cannot be cut where the shards say.
    pub fn new(shards: &Shards, weights: &Weights) -> Result<Self, String> {
        let rank = |rank: usize| -> Result<Interp, String> {
            let read = |(id, w): (usize, &Weight)| -> Result<Matrix, String> {
                let shard = shards.weight(weights, WeightId(id), rank)?;
                Ok(shard.to_f32().chunks_exact(w.inp).map(<[f32]>::to_vec).collect())
            };
            let held = shards.graph.weights.iter().enumerate().map(read).collect::<Result<_, _>>();
            Ok(Interp { rank, ..Interp::with_weights(&shards.graph, held?) })
        };
        Ok(Self { ranks: (0..shards.ranks).map(rank).collect::<Result<_, _>>()? })
    }

    /// As [`Interp::forward`], of all ranks.
    ///
    /// # Panics
    /// If ranks end with different bits: what is whole is the same on each.
    pub fn forward(&mut self, runs: &[Run<'_>], outputs: &[usize]) -> Matrix {
        let rows: Vec<Vec<Row>> = self.ranks.iter_mut().map(|rank| rank.rows(runs)).collect();
        let mut values: Vec<Vec<Matrix>> = vec![Vec::new(); self.ranks.len()];
        for n in 0..self.ranks[0].graph.nodes.len() {
            let node = self.ranks[0].graph.nodes[n].clone();
            let made = self.eval(&node, &values, &rows, outputs);
            values.iter_mut().zip(made).for_each(|(values, made)| values.push(made));
        }
        let mut results = values.into_iter().map(|mut values| values.pop().unwrap_or_default());
        let first = results.next().unwrap_or_default();
        for (rank, other) in results.enumerate() {
            let equal = bits(&first).eq(bits(&other));
            assert!(equal, "rank {} ends with another result than rank 0", rank + 1);
        }
        first
    }

    /// A node's value on every rank.
    fn eval(
        &mut self,
        node: &Node,
        values: &[Vec<Matrix>],
        rows: &[Vec<Row>],
        outputs: &[usize],
    ) -> Vec<Matrix> {
        let args = || values.iter().map(|values| &values[node.args[0].0]);
        match node.op {
            Op::AllReduce => vec![all_reduce(args()); values.len()],
            Op::AllGather { ranks } => {
                assert_eq!(ranks, values.len(), "a graph of as many ranks");
                vec![all_gather(args()); values.len()]
            }
            _ => {
                let ranks = self.ranks.iter_mut().zip(values).zip(rows);
                ranks.map(|((rank, values), rows)| rank.eval(node, values, rows, outputs)).collect()
            }
        }
    }
}

/// Sums elements over ranks, the first rank's first.
fn all_reduce<'a>(mut ranks: impl Iterator<Item = &'a Matrix>) -> Matrix {
    let mut sum = ranks.next().cloned().unwrap_or_default();
    for other in ranks {
        for (sum, x) in sum.iter_mut().flatten().zip(other.iter().flatten()) {
            *sum += x;
        }
    }
    sum
}

/// Puts columns side by side, the first rank's first.
fn all_gather<'a>(mut ranks: impl Iterator<Item = &'a Matrix>) -> Matrix {
    let mut rows = ranks.next().cloned().unwrap_or_default();
    for other in ranks {
        rows.iter_mut().zip(other).for_each(|(row, other)| row.extend(other));
    }
    rows
}

fn bits(matrix: &Matrix) -> impl Iterator<Item = u32> {
    matrix.iter().flatten().map(|x| x.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectives_go_by_the_order_of_ranks() {
        let ranks = [vec![vec![1.0, 2.0]], vec![vec![1e8, 0.5]], vec![vec![-1e8, 4.0]]];
        // 1 is lost beside 1e8: the order of ranks 1, 2, 0 would keep it.
        assert_eq!(all_reduce(ranks.iter()), [[0.0, 6.5]]);
        assert_eq!(all_gather(ranks.iter()), [[1.0, 2.0, 1e8, 0.5, -1e8, 4.0]]);
    }
}
