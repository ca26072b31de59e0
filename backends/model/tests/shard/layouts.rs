//! What differs between families, types and rank counts, one table each.

use gimbal_model::graph::{Cut, Graph, Op, RopeTable, State, WeightId};
use gimbal_model::interp::Group;
use gimbal_model::weights::DType;
use gimbal_model::{Decoder, HeadNorm, Layer, decoder, shard};

use crate::rig::{compare, config, cut, model, weights};

fn kv_heads(graph: &Graph) -> usize {
    let State::Kv { kv_heads, .. } = graph.states[0];
    kv_heads
}

fn count(graph: &Graph, is: impl Fn(&Op) -> bool) -> usize {
    graph.nodes.iter().filter(|node| is(&node.op)).count()
}

/// What a family does its own way, each alone and all together.
fn variants() -> Vec<(&'static str, Decoder)> {
    let layers = vec![
        Layer { window: Some(5), rope: Some(1) },
        Layer { window: None, rope: Some(0) },
        Layer { window: Some(3), rope: None },
    ];
    let mut ropes = config().ropes;
    ropes.push(RopeTable { magnitude: 1.2, ..ropes[0].clone() });
    let all = Decoder {
        layers: layers.clone(),
        ropes: ropes.clone(),
        qkv_bias: true,
        head_norms: Some(HeadNorm::Row),
        post_norms: true,
        tied: true,
        embed_scale: Some(8.0),
        attention_scale: Some(0.2),
        ..config()
    };
    vec![
        ("plain", config()),
        ("biases", Decoder { qkv_bias: true, ..config() }),
        ("norms of heads", Decoder { head_norms: Some(HeadNorm::Head), ..config() }),
        ("norms of rows", Decoder { head_norms: Some(HeadNorm::Row), ..config() }),
        ("post norms", Decoder { pre_norms: false, post_norms: true, ..config() }),
        ("tied", Decoder { tied: true, embed_scale: Some(8.0), ..config() }),
        ("windows", Decoder { layers, ropes, ..config() }),
        ("all", all),
    ]
}

#[test]
fn every_variant_is_the_whole_graph_on_2_4_and_8_ranks() {
    for (name, variant) in variants() {
        let (graph, weights) = model(&variant, DType::F32);
        for ranks in [2, 4, 8] {
            let shards = cut(&graph, &weights, ranks).expect("eight heads");
            // Two heads of keys and values: half the ranks of four, and of eight, hold each.
            assert_eq!(kv_heads(&shards.graph), 1);
            compare(name, &graph, &weights, ranks);
        }
    }
}

#[test]
fn three_and_six_ranks_divide_six_heads() {
    for kv_heads in [1, 2, 3, 6] {
        let six = Decoder { heads: 6, kv_heads, feed_forward: 192, ..config() };
        let (graph, weights) = model(&six, DType::F32);
        for ranks in [3, 6] {
            let divides = kv_heads % ranks == 0 || ranks % kv_heads == 0;
            match cut(&graph, &weights, ranks) {
                Ok(_) => {
                    assert!(divides, "{kv_heads} among {ranks}");
                    compare("six heads", &graph, &weights, ranks);
                }
                Err(why) => assert!(!divides && why.contains("key and value heads"), "{why}"),
            }
        }
    }
}

/// Every type of blocks: of 32 on eight ranks, of 256 on as many as have whole blocks.
#[test]
fn quantised_weights_are_cut_at_the_edges_of_blocks() {
    for dtype in DType::ALL {
        let wide = dtype.block().0 == 256;
        let sizes = if wide { (256, 1024) } else { (64, 256) };
        let quantised = Decoder { hidden: sizes.0, feed_forward: sizes.1, ..config() };
        let quantised = Decoder { heads: if wide { 16 } else { 8 }, kv_heads: 2, ..quantised };
        let (graph, weights) = model(&quantised, dtype);
        let ranks: &[usize] = if wide { &[2] } else { &[2, 4, 8] };
        for ranks in ranks {
            compare(dtype.name(), &graph, &weights, *ranks);
        }
        let told = cut(&graph, &weights, 4).map(|_| ());
        let expect = "blk.0.attn_output.weight: 512 columns in blocks of 256, 256 together, do not \
                      divide among 4 ranks";
        assert_eq!(told, if wide { Err(expect.to_owned()) } else { Ok(()) });
    }
}

/// As `Q4_K_M` files mix them.
#[test]
fn types_of_one_model_may_differ() {
    let mixed = Decoder { hidden: 256, feed_forward: 1024, tied: true, ..config() };
    let graph = decoder(&mixed);
    let weights = weights(&graph, 3, &|name| match name {
        "token_embd.weight" | "blk.0.ffn_down.weight" => DType::Q6K,
        "blk.0.attn_v.weight" | "blk.1.attn_output.weight" => DType::Q5_0,
        _ if name.contains("attn_output") => DType::Q8_0,
        _ => DType::Q4K,
    });
    for ranks in [2, 4] {
        compare("mixed types", &graph, &weights, ranks);
    }
    let why = cut(&graph, &weights, 8).expect_err("128 columns are half a block");
    assert!(why.starts_with("blk.0.ffn_down.weight: 1024 columns in blocks of 256"), "{why}");
}

#[test]
fn softcaps_of_scores_and_logits_are_kept() {
    let (mut graph, weights) = model(&config(), DType::F32);
    for node in &mut graph.nodes {
        if let Op::Attend { softcap, .. } = &mut node.op {
            *softcap = Some(0.5);
        }
    }
    let last = gimbal_model::graph::Val(graph.nodes.len() - 1);
    graph.add(Op::Softcap(2.0), &[last]);
    compare("softcaps", &graph, &weights, 4);
}

/// No family has such a bias yet; each rank adding it would count it as often as there are ranks.
#[test]
fn a_bias_behind_summed_parts_is_added_once() {
    let (mut graph, _) = model(&config(), DType::F32);
    for layer in 0..2 {
        for name in ["attn_output", "ffn_down"] {
            let hidden = config().hidden;
            let bias = graph.weight(&format!("blk.{layer}.{name}.bias"), hidden, 1, Cut::Whole);
            let weight = format!("blk.{layer}.{name}.weight");
            let is = |w: WeightId| graph.weights[w.0].name == weight;
            let node = graph
                .nodes
                .iter()
                .position(|node| matches!(node.op, Op::Linear { weight, .. } if is(weight)));
            let node = &mut graph.nodes[node.expect("every layer has one")];
            if let Op::Linear { bias: none, .. } = &mut node.op {
                *none = Some(bias);
            }
        }
    }
    let weights = weights(&graph, 11, &|_| DType::F32);
    let shards = cut(&graph, &weights, 4).expect("eight heads");
    assert_eq!(count(&shards.graph, |op| matches!(op, Op::Bias(_))), 4);
    compare("biases behind sums", &graph, &weights, 4);
}

#[test]
fn a_rank_holds_its_share() {
    let (graph, weights) = model(&Decoder { tied: true, ..config() }, DType::Q8_0);
    assert_eq!(cut(&graph, &weights, 1).expect("one").graph, graph);
    let two = cut(&graph, &weights, 2).expect("two").graph;
    // Embedding, and twice a layer.
    assert_eq!(count(&two, |op| *op == Op::AllReduce), 1 + 2 * 2);
    assert_eq!(count(&two, |op| *op == Op::AllGather { ranks: 2 }), 1);
    assert_eq!(two.kv_elements_per_token() * 2, graph.kv_elements_per_token());
    assert_eq!((two.vocab(), two.hidden()), (graph.vocab(), graph.hidden()));
    for (held, whole) in two.weights.iter().zip(&graph.weights) {
        let shards = if whole.cut == Cut::Whole { 1 } else { 2 };
        assert_eq!(held.out * held.inp * shards, whole.out * whole.inp, "{}", held.name);
    }
    // Where ranks are more than heads of keys and values, those do not shrink further.
    let eight = cut(&graph, &weights, 8).expect("eight").graph;
    assert_eq!(eight.kv_elements_per_token(), two.kv_elements_per_token());
}

#[test]
fn a_vocabulary_that_does_not_divide_stays_whole() {
    let odd = Decoder { vocab: 97, ..config() };
    let (graph, weights) = model(&odd, DType::F32);
    let shards = cut(&graph, &weights, 2).expect("it runs");
    let expect = ["token_embd.weight", "output.weight"]
        .map(|name| format!("{name}: 97 tokens do not divide among 2 ranks"));
    assert_eq!(shards.kept_whole, expect);
    assert_eq!(count(&shards.graph, |op| matches!(op, Op::AllGather { .. })), 0);
    compare("97 tokens", &graph, &weights, 2);
}

#[test]
fn blocks_that_nobody_told_of_are_refused_when_read() {
    let narrow = Decoder { head_dim: 8, feed_forward: 64, heads: 4, ..config() };
    let narrow = Decoder { ropes: vec![RopeTable::plain(1e4, 8, narrow.ropes[0].pair)], ..narrow };
    let (graph, weights) = model(&narrow, DType::Q8_0);
    let shards = shard(&graph, &|_| 1, 2).expect("as floats");
    let why = Group::new(&shards, &weights).map(|_| ()).expect_err("half a block");
    let expect = "blk.0.attn_output.weight: columns 0..16 cut a block of Q8_0, which has 32";
    assert_eq!(why, expect);
}
