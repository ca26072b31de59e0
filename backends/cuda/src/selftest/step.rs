//! Steps of a model that is made in memory, by the backend that serves, against the interpreter.
//!
//! Next: `timing.rs`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{
    AdapterSlot, Answer, Batch, BlockId, Kv, Limits, Open, Output, Part, Prefill, SampleParams,
    Sampling, SeqSlot, Shape, StepId, Token, TokenId, Want,
};
use gimbal_hal::{Backend, DeviceError};
use gimbal_model::fuse::fuse;
use gimbal_model::graph::{Act, Pair, RopeTable};
use gimbal_model::interp::{Interp, Run};
use gimbal_model::weights::{DType, Entry, Mapping, Weights};
use gimbal_model::{Decoder, HeadNorm, Layer, Model, Text, decoder, shard};
use half::{bf16, f16};

use super::bench::Bench;
use crate::driver::Device;
use crate::launch::Type;
use crate::program::{BLOCK_TOKENS, Program, Sizes, Source};
use crate::quants;
use crate::rank::Rank;
use crate::step::CudaBackend;

/// Tokens that each of three sequences gets in a step whose logits are wanted: whole prompts, a mixed step, single
/// rows, which are padded to four and recorded once.
const STEPS: [[usize; 3]; 4] = [[70, 5, 2], [1, 40, 1], [1, 1, 1], [1, 1, 1]];
/// The largest difference to f32, as a share of the largest logit: what rounding each activation to eight or
/// eleven bits leaves over two layers.
const NEAR: f64 = 2e-2;
/// Steps with one row of each sequence that follow; the device draws their tokens.
const AHEAD: u64 = 4;
/// Blocks of a sequence: 112 tokens.
const BLOCKS_EACH: u32 = 7;
/// How long a step may take: an emulated one takes seconds.
const STEP_TIME: Duration = Duration::from_secs(120);

/// Runs the steps; tells the largest difference in units of what is allowed.
///
/// # Errors
/// What differs, or what the device said.
pub(super) fn agrees(
    device: Device,
    (shape, blocks): (Decoder, Blocks),
    kind: Type,
    noise: &Bench<'_>,
) -> Result<f64, String> {
    let model = model(shape, blocks, kind, noise)?;
    let sizes = Sizes { rows: 128, sequences: 4, context: 112, blocks: 3 * BLOCKS_EACH };
    let limits = limits(sizes, &model);
    let fused = fuse(&model.graph)?;
    let shards = shard(&model.graph, &|_| 1, 1)?;
    let kept = quants::of_model(&model);
    let source = Source { graph: &model.graph, fused: &fused, kept: &kept, shards: &shards, kind };
    let program = |base| Program::new(source, 0, sizes, base);
    let rank = Rank::open(device, &model, &shards, program).map_err(|error| error.to_string())?;
    let mut backend = CudaBackend::new(limits, vec![rank]);
    let mut oracle = Interp::new(&model.graph, &model.weights);
    let (mut starts, mut worst) = ([0; 3], 0.0_f64);
    for (step, rows) in (0..).zip(STEPS) {
        let tokens =
            rows.map(|rows| (0..rows).map(|_| (noise.bits() % 500) as u32).collect::<Vec<_>>());
        let batch = batch(step == 0, starts, &tokens);
        let submitted = backend.submit(StepId(step), &batch);
        submitted.map_err(|error| error.to_string())?;
        let (_, outcome) = backend.collect(STEP_TIME).map_err(|error| error.to_string())?;
        let runs = [0, 1, 2].map(|sequence| Run { sequence, tokens: &tokens[sequence] });
        let ends = [rows[0], rows[0] + rows[1], rows.iter().sum()];
        let last = ends.map(|end| end - 1);
        let expect = oracle.forward(&runs, &last);
        for (sequence, (answer, expect)) in outcome.iter().zip(&expect).enumerate() {
            let Ok(Answer::Row(found)) = answer else {
                return Err(format!("step {step}, sequence {sequence}: {answer:?}"));
            };
            let largest = expect.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            for (i, (found, expect)) in found.iter().zip(expect).enumerate() {
                let error = f64::from((found - expect).abs() / largest) / NEAR;
                if error.is_nan() || error > 1.0 {
                    return Err(format!(
                        "step {step}, sequence {sequence}, logit {i}: {found}, not {expect}"
                    ));
                }
                worst = worst.max(error);
            }
        }
        starts.iter_mut().zip(rows).for_each(|(start, rows)| *start += rows);
    }
    ahead(&mut backend, &mut oracle, starts)?;
    Ok(worst)
}

/// Steps whose tokens the device draws, each queued before those of the one before it are known.
fn ahead(
    backend: &mut CudaBackend,
    oracle: &mut Interp,
    mut starts: [usize; 3],
) -> Result<(), String> {
    let failed = |error: DeviceError| error.to_string();
    let first = STEPS.len() as u64;
    let mut fed = [vec![7], vec![8], vec![9]];
    for step in first..first + AHEAD {
        let mut batch = batch(false, starts, &fed);
        if step > first {
            batch.tokens.fill(Token::Last);
        }
        batch.outputs.iter_mut().for_each(|output| output.want = Want::Sample);
        backend.submit(StepId(step), &batch).map_err(failed)?;
        starts.iter_mut().for_each(|start| *start += 1);
        if step == first {
            continue;
        }
        let (collected, outcome) = backend.collect(STEP_TIME).map_err(failed)?;
        let runs = [0, 1, 2].map(|sequence| Run { sequence, tokens: &fed[sequence] });
        let expect = oracle.forward(&runs, &[0, 1, 2]);
        let mut drawn = [vec![], vec![], vec![]];
        for (sequence, (answer, logits)) in outcome.iter().zip(&expect).enumerate() {
            let Ok(Answer::Sample { token, .. }) = answer else {
                return Err(format!("step {}, sequence {sequence}: {answer:?}", collected.0));
            };
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let largest = logits.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let gap = most - logits[token.index()];
            if f64::from(gap / largest) > 2.0 * NEAR {
                return Err(format!(
                    "step {}, sequence {sequence}: token {} is {gap} below the best",
                    collected.0,
                    token.get()
                ));
            }
            drawn[sequence].push(token.get());
        }
        fed = drawn;
    }
    backend.collect(STEP_TIME).map(drop).map_err(failed)
}

/// Two layers that differ: a window and neighbouring pairs in the second.
pub(super) fn shape() -> Decoder {
    let rope = |pair| RopeTable::plain(10_000.0, 64, pair);
    Decoder {
        vocab: 500,
        hidden: 192,
        feed_forward: 320,
        layers: vec![
            Layer { window: None, rope: Some(0) },
            Layer { window: Some(33), rope: Some(1) },
        ],
        heads: 6,
        kv_heads: 2,
        head_dim: 64,
        ropes: vec![rope(Pair::Halves), rope(Pair::Adjacent)],
        qkv_bias: false,
        head_norms: Some(HeadNorm::Head),
        pre_norms: true,
        post_norms: true,
        act: Act::Silu,
        embed_scale: Some(2.0),
        attention_scale: None,
        eps: 1e-5,
        tied: false,
    }
}

/// As OLMo 2: blocks read the residual stream as it is; queries and keys are normalised by rows.
pub(super) fn without_pre_norms() -> Decoder {
    Decoder {
        head_norms: Some(HeadNorm::Row),
        pre_norms: false,
        act: Act::GeluTanh,
        embed_scale: None,
        tied: true,
        ..shape()
    }
}

/// The type of a weight's blocks by its name, where it has any.
pub(super) type Blocks = fn(&str) -> Option<DType>;

/// Queries, keys and values, and gates and ups, of different types, so that none is multiplied with its neighbour.
pub(super) fn mixed(name: &str) -> Option<DType> {
    match name.split('.').nth(2)? {
        "attn_q" | "attn_k" => Some(DType::Q4_1),
        "attn_v" | "ffn_up" | "ffn_down" => Some(DType::Q8_0),
        "ffn_gate" => Some(DType::Q4_0),
        _ => None,
    }
}

/// Blocks of seeded quants, with values below `spread`.
fn blocks(dtype: DType, count: usize, spread: f64, noise: &Bench<'_>) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..dtype.row_bytes(count)).map(|_| noise.bits().to_le_bytes()[3]).collect();
    let scale: &[f64] = match dtype {
        DType::Q8_0 => &[spread / 128.0],
        DType::Q4_1 => &[spread / 7.5, -spread],
        _ => &[spread / 8.0],
    };
    for block in bytes.chunks_mut(dtype.block().1) {
        for (half, value) in block.chunks_mut(2).zip(scale) {
            half.copy_from_slice(&f16::from_f64(*value).to_le_bytes());
        }
    }
    bytes
}

/// The model with seeded weights: matrices that the type holds or in blocks, norms of f32.
#[expect(clippy::cast_possible_truncation, reason = "f32 is what is written")]
fn model(
    shape: Decoder,
    in_blocks: Blocks,
    kind: Type,
    noise: &Bench<'_>,
) -> Result<Model, String> {
    let graph = decoder(&shape);
    let (mut bytes, mut entries) = (Vec::new(), HashMap::new());
    let dtype = if kind == Type::Bf16 { DType::BF16 } else { DType::F16 };
    for weight in &graph.weights {
        let start = bytes.len();
        // Norms near 1; products that keep the size of what they multiply.
        let (base, spread) = match weight.inp {
            1 => (1.0, 0.3),
            inp => (0.0, (3.0 / f64::from(u32::try_from(inp).unwrap_or(1))).sqrt()),
        };
        let own = in_blocks(&weight.name);
        if let Some(dtype) = own {
            bytes.extend(blocks(dtype, weight.out * weight.inp, spread, noise));
        }
        let count = if own.is_some() { 0 } else { weight.out * weight.inp };
        for value in noise.numbers(count) {
            let value = base + spread * value;
            match (weight.inp, kind) {
                (1, _) => bytes.extend((value as f32).to_le_bytes()),
                (_, Type::Bf16) => bytes.extend(bf16::from_f64(value).to_le_bytes()),
                (_, Type::F16) => bytes.extend(f16::from_f64(value).to_le_bytes()),
            }
        }
        let dtype = own.unwrap_or(if weight.inp == 1 { DType::F32 } else { dtype });
        let (rows, cols) = if weight.inp == 1 { (1, weight.out) } else { (weight.out, weight.inp) };
        let entry = Entry { dtype, rows, cols, file: 0, bytes: start..bytes.len() };
        entries.insert(weight.name.clone(), entry);
    }
    let mapping = Mapping::from_bytes(&bytes).map_err(|error| error.to_string())?;
    let weights = Weights::new(Arc::new(mapping), entries);
    Ok(Model {
        path: PathBuf::new(),
        name: "seeded".to_owned(),
        licence: None,
        context_tokens: 112,
        decoder: shape,
        graph,
        weights,
        text: Text::default(),
    })
}

fn limits(sizes: Sizes, model: &Model) -> Limits {
    Limits {
        kv: Kv { blocks: sizes.blocks, block_tokens: BLOCK_TOKENS },
        shape: Shape::Varlen { rows_max: sizes.rows },
        prefill: Prefill::Chunked,
        sequences_max: sizes.sequences,
        context_tokens_max: sizes.context,
        vocab: u32::try_from(model.graph.vocab()).unwrap_or(u32::MAX),
        adapters_max: 0,
        inject_width: 0,
        depth: 2,
        sampling: Sampling::HOST,
        batch_invariant: false,
    }
}

/// The sequences' next tokens; their blocks take turns in the cache.
fn batch(is_first: bool, starts: [usize; 3], tokens: &[Vec<u32>; 3]) -> Batch {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut batch = Batch::default();
    for (slot, (start, tokens)) in (0..).zip(starts.into_iter().zip(tokens)) {
        let ids: Vec<TokenId> = tokens.iter().copied().map(TokenId::new).collect();
        let (first, rows) = (small(batch.blocks.len()), small(ids.len()));
        let count = (small(start) + rows).div_ceil(BLOCK_TOKENS);
        batch.blocks.extend((0..count).map(|i| BlockId(3 * i + slot)));
        batch.tokens.extend(ids.iter().copied().map(Token::Id));
        batch.parts.push(Part {
            slot: SeqSlot(slot),
            rows,
            start: small(start),
            blocks: first..first + count,
            adapter: AdapterSlot(0),
        });
        let row = small(batch.tokens.len()) - 1;
        batch.outputs.push(Output { row, want: Want::Row, mask: None });
        if is_first {
            batch.opens.push(Open {
                slot: SeqSlot(slot),
                tokens: ids.into(),
                prompt: rows,
                params: Arc::new(SampleParams::default()),
            });
        }
    }
    batch
}
