//! Tokens a second of the CPU backend, chosen greedily, without scheduler and HTTP: 1, 8 and 32 sequences, and a
//! prompt of 512 tokens. `pace MODEL LIBRARY [THREADS [KV [WORK [TIMES]]]]` prints one line of JSON:
//! of each work the rate over all of its steps, as llama.cpp's `llama-batched-bench` counts, of short
//! work the median of three. KV is f16 or int8, WORK the name of one, as `"decode 32"`, and TIMES
//! how much longer it takes, for a profiler.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use gimbal_conformance::rig::{Rig, Run};
use gimbal_hal::KvDtype;

/// What is measured; `cargo xtask peers` has llama.cpp do as much.
struct Work {
    name: &'static str,
    /// Sequences that decode, or one that is prefilled.
    sequences: u32,
    /// Tokens that each decodes; 0 is a prefill.
    steps: u32,
    /// Rates of which the median counts.
    rates: u32,
}

const WORKS: [Work; 4] = [
    Work { name: "decode 1", sequences: 1, steps: 96, rates: 3 },
    Work { name: "decode 8", sequences: 8, steps: 48, rates: 1 },
    Work { name: "decode 32", sequences: 32, steps: 24, rates: 1 },
    Work { name: "prefill 512", sequences: 1, steps: 0, rates: 3 },
];
/// Tokens every sequence holds before it is timed.
const PROMPT: u32 = 64;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, library, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("pace MODEL LIBRARY [THREADS [KV [WORK [TIMES]]]]");
    };
    let threads = rest.first().map_or(Ok(2), |t| t.parse()).context("THREADS is a number")?;
    let kv = rest.get(1).map_or("f16", String::as_str);
    let kv = KvDtype::ALL.into_iter().find(|(name, _)| *name == kv).context("KV is f16 or int8")?.1;
    let only = rest.get(2);
    let times: u32 = rest.get(3).map_or(Ok(1), |t| t.parse()).context("TIMES is a number")?;
    anyhow::ensure!(times > 0, "TIMES is at least 1");
    let mut rig = Rig::open_with(Path::new(model), Path::new(library), threads, kv)?;
    let mut paces = serde_json::Map::new();
    for Work { name, sequences, steps, rates } in WORKS {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let pace = median((0..rates * times).map(|_| match steps {
            0 => prefill(&mut rig),
            _ => decode(&mut rig, sequences, steps),
        }))?;
        eprintln!("{name}: {pace:.1} tokens/s");
        paces.insert(name.to_owned(), pace.into());
    }
    anyhow::ensure!(!paces.is_empty(), "WORK is one of {:?}", WORKS.map(|work| work.name));
    let line = format!("{}\n", serde_json::Value::Object(paces));
    std::io::stdout().write_all(line.as_bytes()).context("the result")
}

fn token(i: u32) -> u32 {
    100 + i * 37 % 4000
}

fn decode(rig: &mut Rig, sequences: u32, steps: u32) -> anyhow::Result<f64> {
    let prompt: Vec<u32> = (0..PROMPT).map(token).collect();
    for sequence in 0..sequences {
        rig.restart(sequence);
        rig.next(&[Run { sequence, start: 0, tokens: &prompt }], &[PROMPT - 1])?;
    }
    let started = Instant::now();
    for step in 0..steps {
        let next: Vec<[u32; 1]> = (0..sequences).map(|s| [token(s * 31 + step)]).collect();
        let run = |s: u32| Run { sequence: s, start: PROMPT + step, tokens: &next[s as usize] };
        let (runs, outputs): (Vec<_>, Vec<u32>) = (0..sequences).map(|s| (run(s), s)).unzip();
        rig.next(&runs, &outputs)?;
    }
    Ok(f64::from(sequences * steps) / started.elapsed().as_secs_f64())
}

fn prefill(rig: &mut Rig) -> anyhow::Result<f64> {
    let prompt: Vec<u32> = (0..512).map(token).collect();
    rig.restart(0);
    let started = Instant::now();
    rig.next(&[Run { sequence: 0, start: 0, tokens: &prompt }], &[511])?;
    Ok(512.0 / started.elapsed().as_secs_f64())
}

fn median(rates: impl Iterator<Item = anyhow::Result<f64>>) -> anyhow::Result<f64> {
    let mut rates: Vec<f64> = rates.collect::<anyhow::Result<_>>()?;
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}
