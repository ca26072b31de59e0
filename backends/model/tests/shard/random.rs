//! Random shapes: shards make up the whole, and ranks compute what the whole computes.

use gimbal_model::graph::{Act, Cut, Graph, RopeTable, WeightId};
use gimbal_model::weights::{DType, Weights};
use gimbal_model::{Decoder, HeadNorm, Shards, decoder, ranks_possible};
use proptest::prelude::*;

use crate::rig::{compare, config, cut, weights};

fn config_of_any_shape() -> impl Strategy<Value = Decoder> {
    let sizes = (1..=4_usize, 1..=6_usize, 1..=4_usize, 1..=12_usize, 1..=3_usize, 9..100_usize);
    let kinds = (any::<(bool, bool, bool, bool)>(), 0..3_usize);
    (sizes, kinds).prop_map(|(sizes, ((qkv_bias, pre_norms, gelu, tied), norms))| {
        let (kv_heads, group, dims, feed_forward, hidden, vocab) = sizes;
        let head_dim = 8 * dims;
        let pair = config().ropes[0].pair;
        Decoder {
            vocab,
            hidden: 32 * hidden,
            feed_forward: 32 * feed_forward,
            heads: kv_heads * group,
            kv_heads,
            head_dim,
            ropes: vec![RopeTable::plain(1e4, head_dim, pair)],
            qkv_bias,
            head_norms: [None, Some(HeadNorm::Head), Some(HeadNorm::Row)][norms],
            pre_norms,
            post_norms: !pre_norms,
            act: if gelu { Act::GeluTanh } else { Act::Silu },
            tied,
            ..config()
        }
    })
}

/// Floats, or blocks of 32 where a weight's columns are whole blocks.
fn of_any_type(graph: &Graph, seed: u64, quantised: bool) -> Weights {
    let types = [DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q8_0];
    let dtype = |name: &str| {
        let w = graph.weights.iter().find(|w| w.name == name).expect("a weight of the graph");
        let pick = name.len() + usize::try_from(seed % 5).unwrap_or(0);
        let whole_blocks = quantised && w.inp.is_multiple_of(32);
        if whole_blocks { types[pick % types.len()] } else { DType::F32 }
    };
    weights(graph, seed, &dtype)
}

/// Puts the shards of all ranks together: rows below or columns beside each other, and each shard
/// that several ranks hold once.
fn joined(graph: &Graph, weights: &Weights, shards: &Shards, id: WeightId) -> Vec<f32> {
    let (whole, held) = (&graph.weights[id.0], &shards.graph.weights[id.0]);
    let different = (whole.out / held.out) * (whole.inp / held.inp);
    let each = shards.ranks / different;
    let mut read = Vec::new();
    for rank in 0..shards.ranks {
        let shard = shards.weight(weights, id, rank).expect("a shard of each rank").to_f32();
        assert_eq!(shard.len(), held.out * held.inp);
        if rank % each == 0 {
            read.push(shard);
        } else {
            assert_eq!(read.last(), Some(&shard), "neighbours hold the same shard");
        }
    }
    match whole.cut {
        Cut::In { .. } => {
            let row = |row: usize| {
                read.iter().flat_map(move |shard| &shard[row * held.inp..(row + 1) * held.inp])
            };
            (0..whole.out).flat_map(row).copied().collect()
        }
        _ => read.concat(),
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn shards_are_the_whole_and_ranks_compute_it(
        config in config_of_any_shape(),
        wanted in 1..=24_usize,
        seed in any::<u64>(),
        quantised in any::<bool>(),
    ) {
        let graph = decoder(&config);
        let weights = of_any_type(&graph, seed, quantised);
        let found = ranks_possible(&graph, &|name| weights.block(name), wanted);
        prop_assert!(1 <= found.count && found.count <= wanted);
        prop_assert_eq!(found.why.is_none(), found.count == wanted);
        // No larger count would do.
        for more in found.count + 1..=wanted {
            prop_assert!(cut(&graph, &weights, more).is_err(), "{} ranks", more);
        }
        let shards = cut(&graph, &weights, found.count).expect("it was found possible");
        for id in (0..graph.weights.len()).map(WeightId) {
            let whole = weights.get(&graph.weights[id.0].name).expect("it was made").to_f32();
            prop_assert_eq!(joined(&graph, &weights, &shards, id), whole);
        }
        compare("random", &graph, &weights, found.count);
    }
}
