//! Modules with what goes in and what must come out, for another executor of HLO: `cargo xtask hlo` gives them to
//! XLA.
//!
//! `modules write FOLDER` writes those of every golden family; `modules decode MODEL FOLDER` writes one decode step
//! of a whole model; `modules time MODEL STEPS` tells how long that step takes here. Next: `../golden.rs`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use gimbal_batch::{Bucket, Kv};
use gimbal_hlo::golden::{self, DECODE, Golden, PREFILL, wants};
use gimbal_hlo::rig::{Loaded, Rig};
use gimbal_hlo::{Buffer, DType};
use gimbal_model::Model;
use gimbal_model::interp::{Interp, Run};
use gimbal_neuron::lower::{Draw, Part, Pick, Wants};
use serde_json::{Value, json};

/// The decode step of a whole model: four sequences of up to 512 tokens.
const STEP: Bucket = Bucket { sequences: 4, rows_each: 1, context: 512 };
/// Its cache: as many blocks as those need.
const STEP_KV: Kv = Kv { blocks: 64, block_tokens: 32 };
/// How tokens of some are drawn.
const DRAW: Draw = Draw { temperature: 1.2, top_k: 20, top_p: 0.9, min_p: 0.05, uniform: 0.7 };
/// Families whose tokens are drawn, too: the choice is the same of all.
const DRAWN: [&str; 3] = ["gemma3", "llama-64", "qwen3-128"];
/// Families that are cut for two ranks, too: heads of keys and values that both hold, biases, norms of
/// rows that lie on both.
const CUT: [&str; 4] = ["gemma3-64", "llama-64", "olmo2-64", "qwen2-64"];
/// Where its sequences stand.
const STARTS: [u32; 4] = [500, 3, 250, 77];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", folder] => families(Path::new(folder)),
        ["decode", model, folder] => decode(Path::new(model), Path::new(folder)),
        ["time", model, steps] => time(Path::new(model), steps.parse()?),
        _ => bail!("modules write FOLDER | decode MODEL FOLDER | time MODEL STEPS"),
    }
}

/// Modules, and one file with all values.
struct Cases {
    folder: std::path::PathBuf,
    values: BufWriter<File>,
    written: u64,
    cases: Vec<Value>,
}

impl Cases {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let values = BufWriter::new(File::create(folder.join("values.bin"))?);
        Ok(Self { folder: folder.to_owned(), values, written: 0, cases: Vec::new() })
    }

    /// Writes a value, and tells where it lies.
    fn value(&mut self, name: &str, buffer: &Buffer) -> anyhow::Result<Value> {
        let at = self.written;
        self.values.write_all(buffer.bytes())?;
        self.written += buffer.bytes().len() as u64;
        let shape = buffer.shape();
        Ok(json!({ "name": name, "dtype": shape.dtype.name(), "dims": shape.dims, "at": at }))
    }

    /// Runs a step here, and writes it with what went in and what came out. `oracle` has logits of each pick.
    fn step(
        &mut self,
        name: &str,
        rig: &mut Rig,
        loaded: &Loaded,
        (parts, picks): (&[Part<'_>], &[Pick]),
        oracle: Option<&[Vec<f32>]>,
    ) -> anyhow::Result<()> {
        let file = format!("{}.hlo.pb", self.cases.len());
        fs::write(self.folder.join(&file), loaded.program.module.write())?;
        let mut ranks = Vec::new();
        for rank in 0..loaded.module.ranks() {
            let arguments = rig.arguments(loaded, parts, picks, rank).map_err(|e| anyhow!(e))?;
            let arguments = arguments
                .iter()
                .zip(loaded.module.parameters())
                .map(|(buffer, named)| self.value(named.name, buffer))
                .collect::<anyhow::Result<Vec<_>>>()?;
            ranks.push(arguments);
        }
        let step = rig.step(loaded, parts, picks).map_err(|e| anyhow!("{name}: {e}"))?;
        let cached: Vec<Buffer> = rig.cache(0).into_iter().map(|(_, b)| b.clone()).collect();
        let names: Vec<&str> = loaded.module.results().map(|named| named.name).collect();
        let mut sorted: Vec<&str> = names.iter().copied().filter(|n| n.contains('.')).collect();
        sorted.sort_unstable();
        let caches = sorted
            .iter()
            .zip(&cached)
            .map(|(name, buffer)| self.value(name, buffer))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let kv = loaded.program.wants.kv;
        self.cases.push(json!({
            "name": name,
            "module": file,
            "ranks": ranks,
            "results": names,
            "ids": step.ids,
            "logits": step.logits,
            "oracle": oracle,
            "caches": caches,
            // Rows of padding may be written in any order.
            "rows": kv.blocks * kv.block_tokens,
        }));
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.values.flush()?;
        fs::write(self.folder.join("cases.json"), serde_json::to_vec(&self.cases)?)?;
        Ok(())
    }
}

/// Each golden family, by both types: the last chunk of two prompts, and a token of each.
fn families(folder: &Path) -> anyhow::Result<()> {
    let golden = Golden::read().map_err(|e| anyhow!(e))?;
    let mut cases = Cases::new(folder)?;
    let prompts = [&golden.prompts[2], &golden.prompts[1]].map(Vec::as_slice);
    for family in golden.families.keys() {
        let model = Model::open(&golden::folder().join(family))?;
        for dtype in [DType::F32, DType::Bf16] {
            let rig = Rig::new(&model, 1, &wants(DECODE, dtype));
            let mut rig = rig.map_err(|e| anyhow!("{family}: {e}"))?;
            let load = |rig: &Rig, bucket| rig.load(&wants(bucket, dtype)).map_err(|e| anyhow!(e));
            let [prefill, decode] = [load(&rig, PREFILL)?, load(&rig, DECODE)?];
            let chunks = golden::chunks(prompts);
            let (first, rest) = chunks.split_first().context("there are chunks")?;
            // Of the first chunk, in which both have a part; the others are run here only.
            let ends: Vec<usize> = first.iter().map(|part| part.tokens.len()).collect();
            let expect = oracle(&model, &[&prompts[0][..ends[0]], &prompts[1][..ends[1]]]);
            let name = |kind| format!("{family} {kind} {}", dtype.name());
            let step = (first.as_slice(), &*golden::picks(first));
            cases.step(&name("prefill"), &mut rig, &prefill, step, Some(&expect))?;
            for parts in rest {
                rig.step(&prefill, parts, &[]).map_err(|e| anyhow!(e))?;
            }
            let expect = oracle(&model, &prompts);
            let last = golden::last(prompts);
            let step = (last.as_slice(), &*golden::picks(&last));
            cases.step(&name("decode"), &mut rig, &decode, step, Some(&expect))?;
            if dtype == DType::F32 && DRAWN.contains(&family.as_str()) {
                let drawn = Wants { has_draws: true, ..wants(DECODE, dtype) };
                let drawn = rig.load(&drawn).map_err(|e| anyhow!(e))?;
                let picks: Vec<Pick> =
                    step.1.iter().map(|pick| Pick { draw: DRAW, ..*pick }).collect();
                cases.step(&name("drawn"), &mut rig, &drawn, (step.0, &picks), Some(&expect))?;
            }
        }
        if CUT.contains(&family.as_str()) {
            two_ranks(&mut cases, family, &model, prompts)?;
        }
    }
    cases.finish()
}

/// A token of each, cut for two ranks.
fn two_ranks(
    cases: &mut Cases,
    family: &str,
    model: &Model,
    prompts: [&[u32]; 2],
) -> anyhow::Result<()> {
    let (prefill, decode) = (wants(PREFILL, DType::F32), wants(DECODE, DType::F32));
    let mut rig = Rig::new(model, 2, &decode).map_err(|e| anyhow!("{family}: {e}"))?;
    let [prefill, decode] = [rig.load(&prefill), rig.load(&decode)];
    let (prefill, decode) = (prefill.map_err(|e| anyhow!(e))?, decode.map_err(|e| anyhow!(e))?);
    for parts in golden::chunks(prompts) {
        rig.step(&prefill, &parts, &[]).map_err(|e| anyhow!(e))?;
    }
    let last = golden::last(prompts);
    let expect = oracle(model, &prompts);
    let step = (last.as_slice(), &*golden::picks(&last));
    cases.step(&format!("{family} ranks f32"), &mut rig, &decode, step, Some(&expect))
}

/// Logits of the last token of each prompt.
fn oracle(model: &Model, prompts: &[&[u32]]) -> Vec<Vec<f32>> {
    let mut interp = Interp::new(&model.graph, &model.weights);
    let run = |(sequence, tokens): (usize, &&[u32])| {
        let run = Run { sequence, tokens };
        interp.forward(&[run], &[tokens.len() - 1]).remove(0)
    };
    prompts.iter().enumerate().map(run).collect()
}

fn step_wants() -> Wants {
    Wants {
        bucket: STEP,
        kv: STEP_KV,
        context_tokens_max: STEP.context,
        dtype: DType::F32,
        outputs: STEP.sequences,
        has_logits: true,
        has_draws: false,
    }
}

fn opened(model: &Path) -> anyhow::Result<(Rig, Loaded)> {
    let model = Model::open(model)?;
    let rig = Rig::new(&model, 1, &step_wants()).map_err(|e| anyhow!(e))?;
    let loaded = rig.load(&step_wants()).map_err(|e| anyhow!(e))?;
    Ok((rig, loaded))
}

/// Calls with the parts of the decode step.
fn with_parts<T>(call: impl FnOnce(&[Part<'_>]) -> T) -> T {
    let each = STEP_KV.blocks / STEP.sequences;
    let blocks: Vec<Vec<u32>> =
        (0..STEP.sequences).map(|i| (i * each..(i + 1) * each).rev().collect()).collect();
    let parts: Vec<Part<'_>> = STARTS
        .iter()
        .zip(&blocks)
        .map(|(start, blocks)| Part { tokens: &[42], start: *start, blocks })
        .collect();
    call(&parts)
}

/// A decode step of a whole model, of a cache of zeros.
fn decode(model: &Path, folder: &Path) -> anyhow::Result<()> {
    let (mut rig, loaded) = opened(model)?;
    let mut cases = Cases::new(folder)?;
    with_parts(|parts| {
        let step = (parts, &*golden::picks(parts));
        cases.step("decode step", &mut rig, &loaded, step, None)
    })?;
    cases.finish()
}

/// Milliseconds of each of some steps, after one that warms up.
#[expect(clippy::print_stdout, reason = "what the caller reads")]
fn time(model: &Path, steps: u32) -> anyhow::Result<()> {
    let (mut rig, loaded) = opened(model)?;
    let mut times = Vec::new();
    for _ in 0..=steps {
        let started = Instant::now();
        with_parts(|parts| rig.step(&loaded, parts, &golden::picks(parts)))
            .map_err(|e| anyhow!(e))?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    println!("{}", serde_json::to_string(&times[1..])?);
    Ok(())
}
