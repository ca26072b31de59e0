//! `cargo xtask hlo`: every module that golden families are lowered to, computed by XLA, by our interpreter of HLO
//! and by the interpreter of graphs; and how long a decode step of a whole model takes the first two.
//!
//! XLA runs on this processor: it tells that modules are valid and mean what we read in them, and nothing of
//! neuronx-cc. Next: `tests/emulators/hlo/src/bin/modules.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{assets, clients, command, root};

/// Furthest logit of f32 modules.
const F32: f64 = 1e-4;
/// Furthest logit of bf16 modules, as a share of the largest.
const BF16: f64 = 2e-2;
/// Furthest logit of the whole model's f32 module, as a share of the largest: thirty layers.
const WHOLE: f64 = 1e-4;
/// Prefill and decode by two types, tokens that are drawn, and two ranks.
const KINDS: usize = 6;
/// How much longer than XLA the interpreter may take for a step.
const RATIO: f64 = 3.0;
/// Steps of each of the four measurements.
const STEPS: &str = "20";

/// Compares, and fails where something is further than its bound.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    if !arguments.is_empty() {
        bail!("`hlo` takes no arguments");
    }
    let python = clients::install("xla.txt", "XLA for processors, 170 MB")?.join("python");
    let model = assets::fetch()?.model;
    let modules = build()?;
    let folder = std::env::temp_dir().join(format!("gimbal-hlo-{}", std::process::id()));
    let outcome = families(&modules, &python, &folder.join("families"))
        .and_then(|()| step(&modules, &python, &model, &folder.join("step")));
    fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    outcome
}

/// The program that writes modules.
fn build() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args(["build", "--quiet", "--release", "--package", "gimbal-hlo"]);
    command::run(cargo.args(["--bin", "modules"]))?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("release/modules"))
}

/// What a program prints.
fn printed(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut process = Command::new(program);
    process.args(arguments).env("JAX_PLATFORMS", "cpu").env("PYTHONDONTWRITEBYTECODE", "1");
    let output = process.output().with_context(|| program.display().to_string())?;
    if !output.status.success() {
        bail!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn shown(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| path.display().to_string())
}

fn xla(python: &Path, rest: &[&str]) -> anyhow::Result<String> {
    let script = root().join("tests/clients/xla_modules.py");
    printed(python, &[&[shown(&script)?], rest].concat())
}

/// Largest differences of the cases of one kind.
#[derive(Default)]
struct Furthest {
    cases: usize,
    columns: [f64; 4],
}

const COLUMNS: [(&str, &str); 4] = [
    ("interpreter", "interpreter − XLA"),
    ("oracle", "XLA − graph"),
    ("interpreter_oracle", "interpreter − graph"),
    ("cache", "keys, values"),
];

/// Of each family: a chunk of prompts and a token of two sequences, by both types.
fn families(modules: &Path, python: &Path, folder: &Path) -> anyhow::Result<()> {
    printed(modules, &["write", shown(folder)?])?;
    let told = xla(python, &[shown(folder)?])?;
    let mut kinds: BTreeMap<String, Furthest> = BTreeMap::new();
    let mut failed = Vec::new();
    for line in told.lines() {
        let case: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let name = case["name"].as_str().context("a case has a name")?;
        let number = |key: &str| case[key].as_f64().with_context(|| format!("{name}: {key}"));
        let is_narrow = name.ends_with("bf16");
        // Of the largest logit, where sides of products were rounded.
        let scale = if is_narrow { number("largest")? } else { 1.0 };
        let bound = if is_narrow { BF16 } else { F32 };
        let kind = name.split_once(' ').map_or(name, |(_, kind)| kind);
        let furthest = kinds.entry(kind.to_owned()).or_default();
        furthest.cases += 1;
        for (column, (key, _)) in furthest.columns.iter_mut().zip(COLUMNS) {
            let off = number(key)? / scale;
            *column = column.max(off);
            if off > bound {
                failed.push(format!("{name}: {key} {off:.1e}"));
            }
        }
        // Executors may choose apart only where two tokens are as probable.
        if number("ids")? > bound * scale {
            failed.push(format!("{name}: another token"));
        }
    }
    eprintln!(
        "{:<16}{:>6}{}",
        "modules",
        "cases",
        COLUMNS.map(|(_, n)| format!("{n:>21}")).concat()
    );
    for (kind, Furthest { cases, columns }) in &kinds {
        let columns = columns.map(|off| format!("{off:>21.1e}")).concat();
        eprintln!("{kind:<16}{cases:>6}{columns}");
    }
    if kinds.len() != KINDS {
        bail!("{} kinds of modules, not {KINDS}", kinds.len());
    }
    if !failed.is_empty() {
        bail!("too far apart: {}", failed.join("; "));
    }
    Ok(())
}

/// A decode step of the default model: the same logits, and times by turns.
fn step(modules: &Path, python: &Path, model: &Path, folder: &Path) -> anyhow::Result<()> {
    printed(modules, &["decode", shown(model)?, shown(folder)?])?;
    let told = xla(python, &[shown(folder)?])?;
    let case: Value = serde_json::from_str(&told)?;
    let number = |key: &str| case[key].as_f64().with_context(|| format!("decode step: {key}"));
    let off = number("interpreter")? / number("largest")?;
    eprintln!("decode step      interpreter − XLA: {off:.1e} of the largest logit");
    let mut medians = [Vec::new(), Vec::new()];
    for _ in 0..2 {
        medians[0].push(median(&printed(modules, &["time", shown(model)?, STEPS])?)?);
        medians[1].push(median(&xla(python, &[shown(folder)?, STEPS])?)?);
    }
    let [ours, theirs] = &medians;
    let ratio = ours.iter().sum::<f64>() / theirs.iter().sum::<f64>();
    eprintln!(
        "by turns, medians in ms: interpreter {ours:.1?}, XLA {theirs:.1?}: {ratio:.2} times as long"
    );
    if off > WHOLE || ratio > RATIO {
        bail!("bounds are {WHOLE:.0e} and {RATIO} times");
    }
    Ok(())
}

/// Of a JSON array of numbers.
fn median(told: &str) -> anyhow::Result<f64> {
    let mut numbers: Vec<f64> = serde_json::from_str(told).with_context(|| told.to_owned())?;
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().context("no measurements")
}
