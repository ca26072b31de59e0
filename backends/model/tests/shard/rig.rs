//! Random models as graphs and mapped weights, and both ways to run them.

use std::collections::HashMap;
use std::sync::Arc;

use gimbal_model::graph::{Act, Graph, Pair, RopeTable};
use gimbal_model::interp::{Group, Interp, Run};
use gimbal_model::weights::{DType, Entry, Mapping, Weights};
use gimbal_model::{Decoder, Layer, Shards, decoder, shard};

/// Of the largest logit: ranks add the same products of f32 in another order, in two sums a layer
/// and one in a norm of a whole row. Most seen in 3,000 random models: 1.3e-6.
const TOLERANCE: f32 = 5e-6;

/// Eight heads over two key and value heads; every size is a multiple of most blocks.
pub(crate) fn config() -> Decoder {
    Decoder {
        vocab: 96,
        hidden: 64,
        feed_forward: 512,
        layers: vec![Layer { window: None, rope: Some(0) }; 2],
        heads: 8,
        kv_heads: 2,
        head_dim: 32,
        ropes: vec![RopeTable::plain(1e4, 32, Pair::Halves)],
        qkv_bias: false,
        head_norms: None,
        pre_norms: true,
        post_norms: false,
        act: Act::Silu,
        embed_scale: None,
        attention_scale: None,
        eps: 1e-5,
        tied: false,
    }
}

struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// In -1..1.
    fn unit(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }
}

/// One block of random values of at most about `most`.
fn block(dtype: DType, most: f32, random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..dtype.block().1).map(|_| random.word().to_le_bytes()[3]).collect();
    let mut half = |at: usize, value: f32| {
        bytes[at..at + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
    };
    match dtype {
        DType::F32 => return (most * random.unit()).to_le_bytes().to_vec(),
        DType::F16 => half(0, most * random.unit()),
        DType::BF16 => {
            return half::bf16::from_f32(most * random.unit()).to_le_bytes().to_vec();
        }
        DType::Q4_0 => half(0, most / 8.0),
        DType::Q5_0 => half(0, most / 16.0),
        DType::Q8_0 => half(0, most / 128.0),
        DType::Q4_1 | DType::Q5_1 => {
            half(0, most / if dtype == DType::Q4_1 { 7.5 } else { 15.5 });
            half(2, -most);
        }
        DType::Q4K | DType::Q5K => {
            half(0, most / if dtype == DType::Q4K { 472.5 } else { 976.5 });
            half(2, most / 63.0);
        }
        DType::Q6K => half(208, most / 4096.0),
    }
    bytes
}

/// Random weights of a graph; `dtype` tells the type of a matrix by its name, vectors are F32.
pub(crate) fn weights(graph: &Graph, seed: u64, dtype: &dyn Fn(&str) -> DType) -> Weights {
    let mut random = Random(seed.wrapping_mul(2).wrapping_add(1));
    let (mut bytes, mut entries) = (Vec::new(), HashMap::new());
    for w in &graph.weights {
        let is_vector = w.inp == 1;
        let (rows, cols) = if is_vector { (1, w.out) } else { (w.out, w.inp) };
        let dtype = if is_vector { DType::F32 } else { dtype(&w.name) };
        assert!(cols.is_multiple_of(dtype.block().0), "{} in {dtype:?}", w.name);
        // Rows of values about as large as the input's, so that no layer drowns another.
        let most = if is_vector { 1.0 } else { 3.0 / (w.inp as f32).sqrt() };
        let start = bytes.len();
        for _ in 0..rows * cols / dtype.block().0 {
            bytes.extend(block(dtype, most, &mut random));
        }
        let entry = Entry { dtype, rows, cols, file: 0, bytes: start..bytes.len() };
        entries.insert(w.name.clone(), entry);
    }
    let mapping = Mapping::from_bytes(&bytes).expect("memory");
    Weights::new(Arc::new(mapping), entries)
}

/// Cuts a graph for weights as they lie in their file.
pub(crate) fn cut(graph: &Graph, weights: &Weights, ranks: usize) -> Result<Shards, String> {
    shard(graph, &|name| weights.block(name), ranks)
}

struct Step {
    /// Sequence and tokens.
    runs: Vec<(usize, Vec<u32>)>,
    outputs: Vec<usize>,
}

/// Two sequences in three steps: prompts, chunks beside one row, and single rows.
fn steps(vocab: usize) -> [Step; 3] {
    let vocab = u32::try_from(vocab).expect("a small vocabulary");
    let tokens = |n: u32, by: u32| (0..n).map(|i| (i * by + 5) % vocab).collect::<Vec<u32>>();
    [
        Step { runs: vec![(0, tokens(19, 7))], outputs: vec![0, 18] },
        Step { runs: vec![(1, tokens(7, 11)), (0, tokens(1, 3))], outputs: vec![3, 6, 7] },
        Step { runs: vec![(0, tokens(1, 1)), (1, tokens(1, 1))], outputs: vec![0, 1] },
    ]
}

/// Runs both and holds every logit of the group to the whole graph's.
pub(crate) fn compare(name: &str, graph: &Graph, weights: &Weights, ranks: usize) {
    let name = format!("{name} on {ranks} ranks");
    let shards = cut(graph, weights, ranks).unwrap_or_else(|why| panic!("{name}: {why}"));
    let mut group = Group::new(&shards, weights).unwrap_or_else(|why| panic!("{name}: {why}"));
    let mut whole = Interp::new(graph, weights);
    for Step { runs, outputs } in steps(graph.vocab()) {
        let runs: Vec<Run<'_>> =
            runs.iter().map(|(sequence, tokens)| Run { sequence: *sequence, tokens }).collect();
        let expect = whole.forward(&runs, &outputs);
        let found = group.forward(&runs, &outputs);
        assert_eq!(found.len(), outputs.len());
        for (found, expect) in found.iter().zip(&expect) {
            close(&name, found, expect);
        }
    }
}

/// Holds logits to those of the whole graph.
pub(crate) fn close(name: &str, found: &[f32], expect: &[f32]) {
    assert_eq!(found.len(), expect.len());
    let largest = expect.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    assert!(largest > 0.1, "{name}: logits that tell nothing");
    let off = found.iter().zip(expect).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
    assert!(off <= TOLERANCE, "{name}: {off} of the largest logit");
    // The likeliest token is the same, unless two are as likely.
    let behind = expect[argmax(expect)] - expect[argmax(found)];
    assert!(behind <= 2.0 * TOLERANCE * largest, "{name}: another is likeliest, by {behind}");
}

pub(crate) fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("a vocabulary")
}

/// The graph of a configuration with random weights, all matrices of one type.
pub(crate) fn model(config: &Decoder, dtype: DType) -> (Graph, Weights) {
    let graph = decoder(config);
    let weights = weights(&graph, 7, &|_| dtype);
    (graph, weights)
}
