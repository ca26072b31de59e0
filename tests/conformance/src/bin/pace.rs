//! Tokens a second of the CPU backend without scheduler and HTTP: 1, 8 and 32 sequences, and a
//! prompt of 512 tokens. `pace MODEL LIBRARY [THREADS]`; medians of a run.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use gimbal_conformance::rig::{Rig, Run};

const ROUNDS: u32 = 24;
/// Tokens every sequence holds before it is timed.
const PROMPT: u32 = 64;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, library, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("pace MODEL LIBRARY [THREADS]");
    };
    let threads = rest.first().map_or(Ok(2), |t| t.parse()).context("THREADS is a number")?;
    let mut rig = Rig::open(Path::new(model), Path::new(library), threads)?;
    let token = |i: u32| 100 + i * 37 % 4000;
    for sequences in [1_u32, 8, 32] {
        let prompt: Vec<u32> = (0..PROMPT).map(token).collect();
        for sequence in 0..sequences {
            rig.restart(sequence);
            rig.forward(&[Run { sequence, start: 0, tokens: &prompt }], &[PROMPT - 1])?;
        }
        let seconds = median((0..ROUNDS).map(|round| {
            let next: Vec<[u32; 1]> = (0..sequences).map(|s| [token(s * 31 + round)]).collect();
            let run =
                |s: u32| Run { sequence: s, start: PROMPT + round, tokens: &next[s as usize] };
            let (runs, outputs): (Vec<_>, Vec<u32>) = (0..sequences).map(|s| (run(s), s)).unzip();
            let started = Instant::now();
            rig.forward(&runs, &outputs).map(|_| started.elapsed().as_secs_f64())
        }))?;
        eprintln!("decode, {sequences} sequences: {:.1} tokens/s", f64::from(sequences) / seconds);
    }
    let prompt: Vec<u32> = (0..512).map(token).collect();
    let seconds = median((0..5).map(|_| {
        rig.restart(0);
        let started = Instant::now();
        rig.forward(&[Run { sequence: 0, start: 0, tokens: &prompt }], &[511])?;
        Ok(started.elapsed().as_secs_f64())
    }))?;
    eprintln!("prefill, 512 tokens: {:.1} tokens/s", 512.0 / seconds);
    Ok(())
}

fn median(times: impl Iterator<Item = anyhow::Result<f64>>) -> anyhow::Result<f64> {
    let mut times: Vec<f64> = times.collect::<anyhow::Result<_>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
