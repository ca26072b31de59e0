//! Tokens a second of the CPU backend without scheduler and HTTP: 1, 8 and 32 sequences, and a
//! prompt of 512 tokens. `pace MODEL LIBRARY [THREADS [KV [WORK]]]`; medians of a run, and one line
//! of JSON. KV is f16 or int8. WORK is the name of one, as `"decode 32"`, which is then done ten
//! times as long: that is for a profiler.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use gimbal_conformance::rig::{Rig, Run};
use gimbal_hal::KvDtype;

/// Work and the sequences that decode in it; none is a prefill.
const WORKS: [(&str, Option<u32>); 4] =
    [("decode 1", Some(1)), ("decode 8", Some(8)), ("decode 32", Some(32)), ("prefill 512", None)];
const ROUNDS: u32 = 24;
/// How much longer one work alone is done.
const LONGER: u32 = 10;
/// Tokens every sequence holds before it is timed.
const PROMPT: u32 = 64;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, library, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("pace MODEL LIBRARY [THREADS [KV [WORK]]]");
    };
    let threads = rest.first().map_or(Ok(2), |t| t.parse()).context("THREADS is a number")?;
    let kv = rest.get(1).map_or("f16", String::as_str);
    let kv = KvDtype::ALL.into_iter().find(|(name, _)| *name == kv).context("KV is f16 or int8")?.1;
    let only = rest.get(2);
    let longer = if only.is_some() { LONGER } else { 1 };
    let mut rig = Rig::open_with(Path::new(model), Path::new(library), threads, kv)?;
    let mut paces = serde_json::Map::new();
    for (name, sequences) in WORKS {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let pace = match sequences {
            Some(sequences) => decode(&mut rig, sequences, ROUNDS * longer)?,
            None => prefill(&mut rig, 5 * longer)?,
        };
        eprintln!("{name}: {pace:.1} tokens/s");
        paces.insert(name.to_owned(), pace.into());
    }
    anyhow::ensure!(!paces.is_empty(), "WORK is one of {WORKS:?}");
    let line = format!("{}\n", serde_json::Value::Object(paces));
    std::io::stdout().write_all(line.as_bytes()).context("the result")
}

fn token(i: u32) -> u32 {
    100 + i * 37 % 4000
}

fn decode(rig: &mut Rig, sequences: u32, rounds: u32) -> anyhow::Result<f64> {
    let prompt: Vec<u32> = (0..PROMPT).map(token).collect();
    for sequence in 0..sequences {
        rig.restart(sequence);
        rig.forward(&[Run { sequence, start: 0, tokens: &prompt }], &[PROMPT - 1])?;
    }
    let seconds = median((0..rounds).map(|round| {
        let next: Vec<[u32; 1]> = (0..sequences).map(|s| [token(s * 31 + round)]).collect();
        let run = |s: u32| Run { sequence: s, start: PROMPT + round, tokens: &next[s as usize] };
        let (runs, outputs): (Vec<_>, Vec<u32>) = (0..sequences).map(|s| (run(s), s)).unzip();
        let started = Instant::now();
        rig.forward(&runs, &outputs).map(|_| started.elapsed().as_secs_f64())
    }))?;
    Ok(f64::from(sequences) / seconds)
}

fn prefill(rig: &mut Rig, rounds: u32) -> anyhow::Result<f64> {
    let prompt: Vec<u32> = (0..512).map(token).collect();
    let seconds = median((0..rounds).map(|_| {
        rig.restart(0);
        let started = Instant::now();
        rig.forward(&[Run { sequence: 0, start: 0, tokens: &prompt }], &[511])?;
        Ok(started.elapsed().as_secs_f64())
    }))?;
    Ok(512.0 / seconds)
}

fn median(times: impl Iterator<Item = anyhow::Result<f64>>) -> anyhow::Result<f64> {
    let mut times: Vec<f64> = times.collect::<anyhow::Result<_>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
