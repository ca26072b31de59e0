//! `cargo xtask perf`: has a change made the CPU path slower?
//!
//! Figures are divided by what register and read loops of this repository do in the same run
//! (`gimbal bench --kernels`), so that a noisy or another machine of the same kind cancels out, and
//! compared with `tests/perf.json`. A loss is believed when it is seen in every one of three runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::{Map, Value};

use crate::{assets, command, peers, root, serve};

/// Runs of which the best counts.
const RUNS: usize = 3;
/// The least share of the baseline.
const LEAST: f64 = 0.9;

/// Compares; with `--write` makes the baseline of this state.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let is_writing = match arguments {
        [] => false,
        [flag] if flag == "--write" => true,
        _ => bail!("perf [--write]"),
    };
    let assets = assets::fetch()?;
    let (gimbal, pace) = (serve::build()?, peers::build_pace()?);
    let baseline = root().join("tests/perf.json");
    let mut best: Map<String, Value> = Map::new();
    for _ in 0..RUNS {
        for (name, found) in measure(&gimbal, &pace, &assets)? {
            let before = best.get(&name).and_then(Value::as_f64).unwrap_or(0.0);
            best.insert(name, before.max(found).into());
        }
        if !is_writing && losses(&baseline, &best)?.is_empty() {
            break;
        }
    }
    if is_writing {
        let text = format!("{:#}\n", Value::Object(best));
        return std::fs::write(&baseline, text).with_context(|| baseline.display().to_string());
    }
    for (name, found) in &best {
        eprintln!("{name}: {:.3} of the reference loop", found.as_f64().unwrap_or(f64::NAN));
    }
    let losses = losses(&baseline, &best)?;
    if losses.is_empty() {
        return Ok(());
    }
    bail!("slower than {} in {RUNS} runs: {}", baseline.display(), losses.join("; "))
}

/// Every figure as a share of its reference loop.
fn measure(
    gimbal: &Path,
    pace: &Path,
    assets: &assets::Assets,
) -> anyhow::Result<Vec<(String, f64)>> {
    let json: PathBuf = assets::cache()?.join("kernels.json");
    let mut bench = Command::new(gimbal);
    command::output(bench.args(["bench", "--kernels", "--threads", "2", "--json"]).arg(&json))?;
    let kernels = std::fs::read_to_string(&json).with_context(|| json.display().to_string())?;
    let kernels: Value = serde_json::from_str(&kernels).context("gimbal bench --kernels")?;
    let mut all = Vec::new();
    for figure in kernels["figures"].as_array().into_iter().flatten() {
        let (dtype, rows) = (figure["dtype"].as_str().unwrap_or_default(), &figure["rows"]);
        let share = if *rows == 1 { &figure["of_read"] } else { &figure["of_peak"] };
        let share = share.as_f64().context("a share")?;
        all.push((format!("{dtype} at {rows} rows"), share));
    }
    let peak = |name: &str| kernels["peaks"][name].as_f64().context("a peak");
    let (read, nibbles) = (peak("read_bytes_per_second")?, peak("u4_i8_operations_per_second")?);
    let paces = peers::paces(pace, &assets.model, &assets.runtime)?;
    for (name, tokens) in paces.as_object().into_iter().flatten() {
        let tokens = tokens.as_f64().context("a pace")?;
        // Tokens a second for each 10 GB/s, or for each TOP/s: numbers around 1 to 100.
        let by = if name == "decode 1" { read / 1e10 } else { nibbles / 1e12 };
        all.push((name.clone(), tokens / by));
    }
    Ok(all)
}

/// What is more than a tenth below the baseline.
fn losses(baseline: &Path, found: &Map<String, Value>) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(baseline).with_context(|| baseline.display().to_string())?;
    let expected: Map<String, Value> = serde_json::from_str(&text).context("tests/perf.json")?;
    let mut losses = Vec::new();
    for (name, expect) in &expected {
        let expect = expect.as_f64().with_context(|| format!("{name} in tests/perf.json"))?;
        let found = found.get(name).and_then(Value::as_f64);
        let found = found.with_context(|| format!("{name} is measured no more"))?;
        if found < LEAST * expect {
            losses.push(format!("{name}: {found:.3}, before {expect:.3}"));
        }
    }
    Ok(losses)
}
