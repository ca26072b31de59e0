//! Steps of a model that is made in memory: compiled into a bundle, loaded by the backend that serves, and held against
//! the interpreter.
//!
//! Next: `timing.rs`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gimbal_batch::{
    AdapterSlot, Answer, Batch, BlockId, Bucket, Open, Output, Part, SampleParams, SeqSlot, StepId,
    Token, TokenId, Want,
};
use gimbal_hal::{Backend, DeviceError};
use gimbal_model::graph::{Act, Pair, RopeTable};
use gimbal_model::interp::{Interp, Run};
use gimbal_model::weights::{DType, Entry, Mapping, Weights};
use gimbal_model::{Decoder, HeadNorm, Layer, Model, Text, decoder};
use half::bf16;

use super::bench::Bench;
use super::noise::Noise;
use super::report::Time;
use crate::compile::{BLOCK_TOKENS, Plan, compile};
use crate::step::{NeuronBackend, limits};

/// Tokens of three prompts: in pieces of 32, some of them short.
const PROMPTS: [usize; 3] = [40, 5, 33];
/// Rows of a piece.
const PIECE: usize = 32;
/// Steps with a row of each sequence that follow.
const STEPS: usize = 8;
/// Tokens of a sequence at most.
const CONTEXT: u32 = 64;
/// How far a token may be below the best, as a share of the largest logit: twice what rounding to eight bits leaves of a
/// logit over two layers.
const NEAR: f64 = 4e-2;
/// How long a step may take.
const STEP_TIME: Duration = Duration::from_secs(60);

/// Runs the steps; tells the largest gap to the best token in units of what is allowed, and how long one step of all
/// sequences takes.
///
/// # Errors
/// What differs, or what compiler or runtime said.
pub(super) fn agrees(bench: &Bench<'_>, ranks: usize) -> Result<(f64, Time), String> {
    let model = seeded(Noise::new(4))?;
    let bucket = |sequences, rows_each| Bucket { sequences, rows_each, context: CONTEXT };
    let buckets = vec![bucket(1, 32), bucket(4, 1)];
    let kv_blocks = 3 * (CONTEXT / BLOCK_TOKENS);
    let plan = Plan { target: bench.chip, lnc: bench.lnc, ranks, buckets, kv_blocks };
    let folder = Folder(bench.asked.bundle);
    let (cache, jobs) = (bench.asked.cache, 1);
    let bundle = compile(&model, &plan, (&bench.compiler, jobs), cache, folder.0, &|_| {});
    let bundle = bundle.map_err(|error| error.to_string())?;
    let limits = limits(&bundle, small(model.graph.vocab()))?;
    let backend = NeuronBackend::open(&bench.runtime, &bundle, limits);
    let mut steps = Steps {
        backend: backend.map_err(|error| error.to_string())?,
        oracle: Interp::new(&model.graph, &model.weights),
        count: 0,
        worst: 0.0,
    };
    let mut noise = Noise::new(5);
    let mut token = || u32::try_from(noise.bits() % model.graph.vocab() as u64).unwrap_or(0);
    let (mut starts, mut fed) = ([0; 3], [0; 3]);
    for (sequence, tokens) in PROMPTS.into_iter().enumerate() {
        let prompt: Vec<u32> = (0..tokens).map(|_| token()).collect();
        fed[sequence] = steps.prompt(sequence, &prompt)?;
        starts[sequence] = tokens;
    }
    let mut times = Vec::new();
    for _ in 0..STEPS {
        let begun = Instant::now();
        let found = steps.together(starts, fed)?;
        times.push(begun.elapsed().as_secs_f64());
        steps.check(&[0, 1, 2].map(|i| (i, vec![fed[i]])), &found)?;
        fed.copy_from_slice(&found);
        starts.iter_mut().for_each(|start| *start += 1);
    }
    times.sort_by(f64::total_cmp);
    Ok((steps.worst, Time { seconds: times[STEPS / 2], bytes: 0 }))
}

/// A bundle that is gone afterwards.
struct Folder<'a>(&'a Path);

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary folder harms nobody.
        drop(fs::remove_dir_all(self.0));
    }
}

/// The device and who knows better.
struct Steps {
    backend: NeuronBackend,
    oracle: Interp,
    count: u64,
    worst: f64,
}

impl Steps {
    /// A prompt, piece by piece; the token that follows it.
    fn prompt(&mut self, sequence: usize, prompt: &[u32]) -> Result<u32, String> {
        let mut found = Vec::new();
        for (i, piece) in prompt.chunks(PIECE).enumerate() {
            let mut batch = Batch::default();
            if i == 0 {
                let tokens: Vec<TokenId> = prompt.iter().copied().map(TokenId::new).collect();
                batch.opens.push(Open {
                    slot: SeqSlot(small(sequence)),
                    tokens: tokens.into(),
                    prompt: small(prompt.len()),
                    params: Arc::new(SampleParams::default()),
                });
            }
            add(&mut batch, sequence, i * PIECE, piece);
            if i * PIECE + piece.len() < prompt.len() {
                batch.outputs.clear();
            }
            found = self.run(&batch)?;
        }
        self.check(&[(sequence, prompt.to_vec())], &found)?;
        found.first().copied().ok_or_else(|| "a prompt without a token".to_owned())
    }

    /// A row of each sequence.
    fn together(&mut self, starts: [usize; 3], fed: [u32; 3]) -> Result<Vec<u32>, String> {
        let mut batch = Batch::default();
        for (sequence, (start, token)) in starts.into_iter().zip(fed).enumerate() {
            add(&mut batch, sequence, start, &[token]);
        }
        self.run(&batch)
    }

    fn run(&mut self, batch: &Batch) -> Result<Vec<u32>, String> {
        let failed = |error: DeviceError| error.to_string();
        let step = StepId(self.count);
        self.count += 1;
        self.backend.submit(step, batch).map_err(failed)?;
        let (_, outcome) = self.backend.collect(STEP_TIME).map_err(failed)?;
        let token = |answer| match answer {
            Ok(Answer::Sample { token, .. }) => Ok(token.get()),
            other => Err(format!("step {}: {other:?}", step.0)),
        };
        outcome.into_iter().map(token).collect()
    }

    /// Each token that was found is one of the best after those that were given.
    fn check(&mut self, given: &[(usize, Vec<u32>)], found: &[u32]) -> Result<(), String> {
        for ((sequence, tokens), found) in given.iter().zip(found) {
            let run = Run { sequence: *sequence, tokens };
            let logits = self.oracle.forward(&[run], &[tokens.len() - 1]).remove(0);
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let largest = logits.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
            let own = logits.get(*found as usize).copied().unwrap_or(f32::NEG_INFINITY);
            let gap = f64::from((most - own) / largest) / NEAR;
            if gap > 1.0 {
                let step = self.count - 1;
                return Err(format!(
                    "step {step}, sequence {sequence}: token {found} is {} below the best",
                    most - own
                ));
            }
            self.worst = self.worst.max(gap);
        }
        Ok(())
    }
}

/// Adds a sequence's rows to a step; the last one is to have a token. Sequences take turns in the cache.
fn add(batch: &mut Batch, sequence: usize, start: usize, tokens: &[u32]) {
    let (first, rows) = (small(batch.blocks.len()), small(tokens.len()));
    let count = (small(start) + rows).div_ceil(BLOCK_TOKENS);
    batch.blocks.extend((0..count).map(|i| BlockId(3 * i + small(sequence))));
    batch.tokens.extend(tokens.iter().copied().map(TokenId::new).map(Token::Id));
    batch.parts.push(Part {
        slot: SeqSlot(small(sequence)),
        rows,
        start: small(start),
        blocks: first..first + count,
        adapter: AdapterSlot(0),
    });
    let row = small(batch.tokens.len()) - 1;
    batch.outputs.push(Output { row, want: Want::Sample, mask: None });
}

fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Two layers that differ: a window and neighbouring pairs in the second. Two ranks divide it.
fn shape() -> Decoder {
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

/// The model with seeded weights: matrices that bf16 holds, vectors of f32.
fn seeded(mut noise: Noise) -> Result<Model, String> {
    let graph = decoder(&shape());
    let (mut bytes, mut entries) = (Vec::new(), HashMap::new());
    for weight in &graph.weights {
        let start = bytes.len();
        let values = noise.numbers(weight.out * weight.inp);
        let (dtype, rows, cols) = match weight.inp {
            1 => (DType::F32, 1, weight.out),
            inp => (DType::BF16, weight.out, inp),
        };
        // Norms near 1; products that keep the size of what they multiply.
        let spread = (3.0 / weight.inp as f32).sqrt();
        for value in values {
            match weight.inp {
                1 => bytes.extend((1.0 + 0.3 * value).to_le_bytes()),
                _ => bytes.extend(bf16::from_f32(spread * value).to_le_bytes()),
            }
        }
        let entry = Entry { dtype, rows, cols, file: 0, bytes: start..bytes.len() };
        entries.insert(weight.name.clone(), entry);
    }
    let mapping = Mapping::from_bytes(&bytes).map_err(|error| error.to_string())?;
    Ok(Model {
        path: PathBuf::new(),
        name: "seeded".to_owned(),
        licence: None,
        context_tokens: CONTEXT,
        decoder: shape(),
        graph,
        weights: Weights::new(Arc::new(mapping), entries),
        text: Text::default(),
    })
}
