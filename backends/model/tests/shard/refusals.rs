//! What cannot be cut is refused by name, and gets fewer ranks with the reason.

use gimbal_model::graph::{Act, Cut, Graph, Op, RopeTable, State, StateId, Val};
use gimbal_model::weights::DType;
use gimbal_model::{Decoder, Ranks, decoder, ranks_possible, shard};

use crate::rig::{compare, config, model};

fn refused(graph: &Graph, ranks: usize) -> String {
    shard(graph, &|_| 1, ranks).map(|_| ()).expect_err("refused")
}

#[test]
fn what_does_not_divide_is_named() {
    let told = |change: Decoder, ranks| refused(&decoder(&change), ranks);
    assert_eq!(told(config(), 0), "0 ranks: there is at least 1");
    assert_eq!(told(config(), 3), "layer 0: 8 query heads do not divide among 3 ranks");
    assert_eq!(
        told(Decoder { heads: 12, kv_heads: 4, ..config() }, 6),
        "layer 0: 4 key and value heads do not divide among 6 ranks, nor the ranks among them"
    );
    assert_eq!(
        told(Decoder { feed_forward: 90, ..config() }, 4),
        "blk.0.ffn_gate.weight: 90 rows, 1 together, do not divide among 4 ranks"
    );
}

/// `ffn_down` of Qwen 2.5 1.5B has 35 blocks of `Q4_K`: its heads divide by two, its blocks do not.
#[test]
fn fewer_ranks_are_told_with_the_reason() {
    let five = Decoder { hidden: 256, heads: 16, feed_forward: 35 * 256, ..config() };
    let graph = decoder(&five);
    let blocks_of_256 = |name: &str| if name.ends_with("ffn_down.weight") { 256 } else { 1 };
    let why = |ranks| {
        Some(format!(
            "blk.0.ffn_down.weight: 8960 columns in blocks of 256, 256 together, do not divide \
             among {ranks} ranks"
        ))
    };
    assert_eq!(ranks_possible(&graph, &blocks_of_256, 2), Ranks { count: 1, why: why(2) });
    assert_eq!(ranks_possible(&graph, &|_| 1, 2), Ranks { count: 2, why: None });
    let (graph, weights) = model(&config(), DType::Q8_0);
    let found = ranks_possible(&graph, &|name| weights.block(name), 6);
    let why = "layer 0: 8 query heads do not divide among 6 ranks".to_owned();
    assert_eq!(found, Ranks { count: 4, why: Some(why) });
    compare("four of six ranks", &graph, &weights, found.count);
    assert_eq!(ranks_possible(&graph, &|_| 1, 0), Ranks { count: 1, why: None });
}

/// Graphs that no family builds: each would be wrong if it were cut by its weights alone.
#[test]
fn no_wrong_graph_is_made() {
    let start = || {
        let mut g = Graph::default();
        let table = g.weight("table", 8, 8, Cut::Vocab);
        let x = g.add(Op::Embed(table), &[]);
        (g, x)
    };
    let linear = |g: &mut Graph, name: &str, cut, x| {
        let weight = g.weight(name, 8, 8, cut);
        g.add(Op::Linear { weight, bias: None }, &[x])
    };
    let told = |build: &dyn Fn(&mut Graph, Val)| {
        let (mut g, x) = start();
        build(&mut g, x);
        refused(&g, 2)
    };
    let out = Cut::Out { unit: 1 };
    let why = told(&|g, x| {
        linear(g, "a", out, x);
    });
    assert_eq!(why, "the result lies in 2 shards");
    let why = told(&|g, x| {
        linear(g, "b", Cut::In { unit: 1 }, x);
    });
    assert_eq!(why, "b: its input lies in 1 shards, not 2");
    let why = told(&|g, x| {
        let a = linear(g, "a", out, x);
        linear(g, "b", Cut::Whole, a);
    });
    assert_eq!(why, "b: its input lies in 2 shards, not 1");
    let why = told(&|g, x| {
        let a = linear(g, "a", out, x);
        g.add(Op::Add, &[x, a]);
    });
    assert_eq!(why, "Add: one side lies in 1 shards, the other in 2");
    let why = told(&|g, x| {
        let a = linear(g, "a", out, x);
        let weight = g.weight("norm", 8, 1, Cut::Whole);
        g.add(Op::RmsNorm { weight, eps: 0.0, group: 8 }, &[a]);
    });
    assert!(why.contains("RmsNorm") && why.ends_with("ranks hold 4 columns of a row"), "{why}");
    let why = told(&|g, x| {
        let weight = g.weight("c", 8, 8, out);
        let bias = Some(g.weight("c.bias", 8, 1, Cut::Whole));
        g.add(Op::Linear { weight, bias }, &[x]);
    });
    assert_eq!(why, "c.bias: it lies in 1 shards, its weight's rows in 2");
    let why = told(&|g, x| {
        let a = g.add(Op::Act(Act::Silu), &[x]);
        g.add(Op::AllReduce, &[a]);
    });
    assert_eq!(why, "AllReduce: it belongs to a rank's graph");
}

#[test]
fn attention_reads_heads_of_its_own_rank_only() {
    let mut g = Graph::default();
    let table = g.weight("table", 8, 8, Cut::Vocab);
    let x = g.add(Op::Embed(table), &[]);
    let mut linear = |name: &str, out, cut| {
        let weight = g.weight(name, out, 8, cut);
        g.add(Op::Linear { weight, bias: None }, &[x])
    };
    let heads = Cut::Out { unit: 4 };
    let (q, k, v) = (linear("q", 8, heads), linear("k", 8, heads), linear("v", 8, Cut::Whole));
    g.states.push(State::Kv { kv_heads: 2, head_dim: 4, window: None });
    let state = StateId(0);
    g.add(Op::Attend { state, heads: 2, scale: 1.0, softcap: None }, &[q, k, v]);
    let why = refused(&g, 2);
    assert!(why.ends_with("queries, keys and values lie in [2, 2, 1] shards"), "{why}");
}

/// A vector lies along its blocks: heads of 16 columns are cut by twos where those have 32.
#[test]
fn blocks_of_a_vector_are_not_cut_either() {
    let narrow = Decoder { qkv_bias: true, head_dim: 16, kv_heads: 8, ..config() };
    let narrow = Decoder { ropes: vec![RopeTable::plain(1e4, 16, narrow.ropes[0].pair)], ..narrow };
    let graph = decoder(&narrow);
    let in_blocks = |name: &str| if name.ends_with(".bias") { 32 } else { 1 };
    assert!(shard(&graph, &in_blocks, 4).is_ok());
    let why = shard(&graph, &in_blocks, 8).map(|_| ()).expect_err("half a block");
    assert_eq!(why, "blk.0.attn_q.bias: it lies in 4 shards, its weight's rows in 8");
}

/// Two units among four ranks: two ranks each would add the same columns.
#[test]
fn a_shard_that_several_ranks_hold_is_never_summed() {
    let mut g = Graph::default();
    let table = g.weight("table", 8, 8, Cut::Vocab);
    let x = g.add(Op::Embed(table), &[]);
    let weight = g.weight("a", 8, 8, Cut::Out { unit: 4 });
    let a = g.add(Op::Linear { weight, bias: None }, &[x]);
    let weight = g.weight("b", 8, 8, Cut::In { unit: 1 });
    g.add(Op::Linear { weight, bias: None }, &[a]);
    assert_eq!(refused(&g, 4), "b: its input lies in 2 shards, not 4");
}
