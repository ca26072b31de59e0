//! Tensor parallelism as a graph pass: one graph in, one rank's graph out.
//!
//! Nothing is sent here: the pass only writes where ranks must add up. Next: `interp.rs`.

use crate::graph::{Cut, Graph, Op, State, Val};

/// The graph of one of `ranks` equal ranks, with the collectives inserted.
///
/// # Errors
/// What does not divide: such a model runs on fewer ranks.
pub fn shard(graph: &Graph, ranks: usize) -> Result<Graph, String> {
    let mut out = Graph { ropes: graph.ropes.clone(), ..Graph::default() };
    for w in &graph.weights {
        let (rows, cols) = match w.cut {
            Cut::Whole => (w.out, w.inp),
            Cut::Out { unit } => (share(w.out, unit, ranks, &w.name)?, w.inp),
            Cut::In { unit } => (w.out, share(w.inp, unit, ranks, &w.name)?),
        };
        out.weight(&w.name, rows, cols, w.cut);
    }
    for State::Kv { kv_heads, head_dim, window } in &graph.states {
        let kv_heads = share(*kv_heads, 1, ranks, "kv heads")?;
        out.states.push(State::Kv { kv_heads, head_dim: *head_dim, window: *window });
    }
    let mut moved: Vec<Val> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let args: Vec<Val> = node.args.iter().map(|a| moved[a.0]).collect();
        let op = match node.op.clone() {
            Op::Attend { state, heads, scale, softcap } => {
                Op::Attend { state, heads: share(heads, 1, ranks, "heads")?, scale, softcap }
            }
            op => op,
        };
        if let Op::RmsNorm { group, .. } = op
            && !out.node(args[0]).cols.is_multiple_of(group)
        {
            return Err(format!("a norm over {group} columns of all heads: ranks hold some"));
        }
        let partial = matches!(node.op, Op::Linear { weight, .. }
            if matches!(graph.weights[weight.0].cut, Cut::In { .. }));
        let mut val = out.add(op, &args);
        if partial && ranks > 1 {
            val = out.add(Op::AllReduce, &[val]);
        }
        moved.push(val);
    }
    Ok(out)
}

fn share(n: usize, unit: usize, ranks: usize, what: &str) -> Result<usize, String> {
    if n.is_multiple_of(unit * ranks) {
        Ok(n / ranks)
    } else {
        Err(format!("{what}: {} units do not divide among {ranks} ranks", n / unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{Decoder, HeadNorm, decoder, tiny};

    #[test]
    fn a_rank_holds_its_share_and_adds_up_twice_a_layer() {
        let whole = decoder(&tiny());
        assert_eq!(shard(&whole, 1).as_ref(), Ok(&whole));
        let half = shard(&whole, 2).expect("two ranks divide two kv heads");
        let reduces = half.nodes.iter().filter(|n| n.op == Op::AllReduce).count();
        assert_eq!(reduces, 4);
        assert_eq!(half.kv_elements_per_token() * 2, whole.kv_elements_per_token());
    }

    #[test]
    fn what_does_not_divide_is_named() {
        let error = shard(&decoder(&tiny()), 4).expect_err("two kv heads, four ranks");
        assert_eq!(error, "blk.0.attn_k.weight: 2 units do not divide among 4 ranks");
        let rows = Decoder { head_norms: Some(HeadNorm::Row), ..tiny() };
        let error = shard(&decoder(&rows), 2).expect_err("a norm needs the whole row");
        assert_eq!(error, "a norm over 32 columns of all heads: ranks hold some");
    }
}
