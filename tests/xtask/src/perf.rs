//! `cargo xtask perf`: has a change made the CPU path slower?
//!
//! Figures are divided by what register and read loops of this repository do in the same run
//! (`gimbal bench --kernels`), so that a noisy or another machine of the same kind cancels out, and
//! compared with `tests/perf.json`: by instruction set and kind of processor the medians of five runs.
//! A loss is believed when it is seen in every one of five runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::{assets, command, peers, root, serve};

/// Runs of which the best is compared, and the median becomes the baseline.
const RUNS: usize = 5;
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
    let (gimbal, pace) = (serve::build()?, peers::build_program("pace")?);
    let baseline = root().join("tests/perf.json");
    if is_writing {
        let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let mut kernels = String::new();
        for _ in 0..RUNS {
            let run = measure(&gimbal, &pace, &assets)?;
            kernels = run.kernels;
            for (name, found) in run.figures {
                all.entry(name).or_default().push(found);
            }
        }
        let mut every = read(&baseline)?;
        every.insert(kernels, medians(all));
        let text = format!("{:#}\n", json!(every));
        return std::fs::write(&baseline, text).with_context(|| baseline.display().to_string());
    }
    let mut best: BTreeMap<String, f64> = BTreeMap::new();
    let mut lost = Vec::new();
    for _ in 0..RUNS {
        let run = measure(&gimbal, &pace, &assets)?;
        for (name, found) in run.figures {
            let before = best.entry(name).or_default();
            *before = before.max(found);
        }
        let every = read(&baseline)?;
        let expected = every.get(&run.kernels).with_context(|| {
            let path = baseline.display();
            format!(
                "{path} has nothing for {}: perf --write on a state known to be good",
                run.kernels
            )
        })?;
        lost = losses(expected, &best)?;
        if lost.is_empty() {
            break;
        }
    }
    for (name, found) in &best {
        eprintln!("{name}: {found:.3} of the reference loop");
    }
    if lost.is_empty() {
        return Ok(());
    }
    bail!("slower than {} in {RUNS} runs: {}", baseline.display(), lost.join("; "))
}

/// Figures by instruction set and kind of processor, then by name.
type Baseline = BTreeMap<String, BTreeMap<String, f64>>;

fn read(baseline: &Path) -> anyhow::Result<Baseline> {
    let text = std::fs::read_to_string(baseline).with_context(|| baseline.display().to_string())?;
    serde_json::from_str(&text).with_context(|| baseline.display().to_string())
}

/// One run.
struct Run {
    /// The instruction set and the kind of processor.
    kernels: String,
    /// Every figure as a share of its reference loop.
    figures: Vec<(String, f64)>,
}

fn measure(gimbal: &Path, pace: &Path, assets: &assets::Assets) -> anyhow::Result<Run> {
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
    let paces = peers::paces(pace, &assets.model, &assets.runtime, &[])?;
    for (name, tokens) in &paces {
        let tokens = tokens.as_f64().context("a pace")?;
        // Tokens a second for each 10 GB/s, or for each TOP/s: numbers around 1 to 100.
        let by = if name == "decode 1" { read / 1e10 } else { nibbles / 1e12 };
        all.push((name.clone(), tokens / by));
    }
    let kernels = kernels["kernels"].as_str().context("the kernels' name")?;
    let kernels = format!("{kernels} on {}", processor()?);
    Ok(Run { kernels, figures: all })
}

/// Vendor and family: processors of one family have the same ports, those of another may not.
fn processor() -> anyhow::Result<String> {
    const INFO: &str = "/proc/cpuinfo";
    let text = std::fs::read_to_string(INFO).context(INFO)?;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.trim_end().starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let name = |names: [&str; 2]| names.into_iter().find_map(value);
    let vendor = name(["vendor_id", "CPU implementer"]).context("no vendor in /proc/cpuinfo")?;
    let family = name(["cpu family", "CPU part"]).context("no family in /proc/cpuinfo")?;
    Ok(format!("{vendor} {family}"))
}

fn medians(all: BTreeMap<String, Vec<f64>>) -> BTreeMap<String, f64> {
    let middle = |(name, mut values): (String, Vec<f64>)| {
        values.sort_by(f64::total_cmp);
        (name, values[values.len() / 2])
    };
    all.into_iter().map(middle).collect()
}

/// What is more than a tenth below the baseline.
fn losses(
    expected: &BTreeMap<String, f64>,
    found: &BTreeMap<String, f64>,
) -> anyhow::Result<Vec<String>> {
    let mut losses = Vec::new();
    for (name, expect) in expected {
        let found = found.get(name).with_context(|| format!("{name} is measured no more"))?;
        if *found < LEAST * expect {
            losses.push(format!("{name}: {found:.3}, before {expect:.3}"));
        }
    }
    Ok(losses)
}
