//! How far a file's results are from its weights' own: `kl MODEL LIBRARY NAME=LOGITS …`.
//!
//! The reference is the f32 interpreter on the same file; held against it are the CPU backend with
//! each type of KV and each LOGITS of `llama-perplexity --kl-divergence-base` on the same text.
//! Prints one line of JSON: the mean KL in nats of each.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use gimbal_conformance::logged::{Logged, divergence, log_probabilities};
use gimbal_conformance::rig::{Rig, Run};
use gimbal_hal::KvDtype;
use gimbal_model::interp::{self, Interp};
use gimbal_model::{Model, Text};
use serde_json::{Map, Value};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, library, logits @ ..] = arguments.as_slice() else {
        anyhow::bail!("kl MODEL LIBRARY NAME=LOGITS …");
    };
    let mut others = Vec::new();
    for logits in logits {
        let (name, path) = logits.split_once('=').context("LOGITS are NAME=FILE")?;
        others.push((name, Logged::open(Path::new(path))?));
    }
    let (_, first) = others.first().context("no LOGITS, and so no text")?;
    let (chunks, wanted) = (first.chunks.clone(), first.wanted());
    ensure!(others.iter().all(|(_, o)| o.chunks == chunks), "LOGITS of different texts");
    let opened = Model::open(Path::new(model))?;
    let chunks = with_bos(&opened, chunks);
    let reference = references(&opened, &chunks, wanted.clone())?;
    let mut means = Map::new();
    let mean = |other: &dyn Fn(usize) -> Vec<f64>| -> f64 {
        let one = |(row, p): (usize, &Vec<f64>)| divergence(p, &other(row));
        reference.iter().enumerate().map(one).sum::<f64>() / reference.len() as f64
    };
    for (name, kv) in KvDtype::ALL {
        let mut rig = Rig::open_with(Path::new(model), Path::new(library), 2, kv)?;
        let outputs: Vec<u32> = wanted.clone().map(u32::try_from).collect::<Result<_, _>>()?;
        let mut rows = Vec::new();
        for tokens in &chunks {
            rig.restart(0);
            rows.extend(rig.forward(&[Run { sequence: 0, start: 0, tokens }], &outputs)?);
        }
        let found = mean(&|row| log_probabilities(&rows[row]));
        means.insert(format!("gimbal, KV {name}"), found.into());
    }
    for (name, other) in &others {
        means.insert((*name).to_owned(), mean(&|row| other.row(row)).into());
    }
    means.insert("positions".to_owned(), reference.len().into());
    let line = format!("{}\n", Value::Object(means));
    std::io::stdout().write_all(line.as_bytes()).context("the result")
}

/// llama-perplexity begins each chunk with the beginning-of-text token where the model wants one.
fn with_bos(model: &Model, mut chunks: Vec<Vec<u32>>) -> Vec<Vec<u32>> {
    if let Text::Data(text) = &model.text
        && let Some(bos) = text.bos.filter(|_| text.add_bos)
    {
        chunks.iter_mut().for_each(|chunk| chunk[0] = bos);
    }
    chunks
}

/// The interpreter's log-probabilities, chunks on two threads.
fn references(
    model: &Model,
    chunks: &[Vec<u32>],
    wanted: std::ops::Range<usize>,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let outputs: Vec<usize> = wanted.collect();
    let run = |chunks: &[Vec<u32>]| -> Vec<Vec<f64>> {
        let mut interp = Interp::new(&model.graph, &model.weights);
        let one = |(sequence, tokens): (usize, &Vec<u32>)| {
            let rows = interp.forward(&[interp::Run { sequence, tokens }], &outputs);
            rows.iter().map(|row| log_probabilities(row)).collect::<Vec<_>>()
        };
        chunks.iter().enumerate().flat_map(one).collect()
    };
    let (first, second) = chunks.split_at(chunks.len() / 2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run(first));
        let second = run(second);
        let mut all = first.join().map_err(|_| anyhow::anyhow!("the interpreter panicked"))?;
        all.extend(second);
        Ok(all)
    })
}
