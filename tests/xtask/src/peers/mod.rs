//! `cargo xtask peers`: Gimbal and llama.cpp on the same files and cores, by turns, in one run; other
//! engines once.
//!
//! Next: `llama.rs` (how it is built and asked), `quality.rs` (what the configurations cost),
//! `others.rs` (other engines, one sequence), `served.rs` (both servers), `table.rs` (medians, ratios
//! and the bars). Everything measured is kept as JSON.

mod llama;
mod others;
mod quality;
mod served;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::{assets, command, root, serve};
use llama::Llama;

/// Rounds by turns.
const ROUNDS: usize = 5;
/// Threads of both.
const THREADS: &str = "2";

const HELP: &str = "peers [--llama BUILD] [--rounds N] [--model FILE] [--no-http]
  --llama BUILD   a build folder of llama.cpp instead of the one this command makes
  --rounds N      rounds by turns [default: 5]
  --model FILE    a GGUF file of a type that llama-quantize reads [default: the default model]
  --no-http       only the libraries";

/// What is asked for.
struct Options {
    llama: Option<PathBuf>,
    rounds: usize,
    model: Option<PathBuf>,
    http: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { llama: None, rounds: ROUNDS, model: None, http: true };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{flag} needs a value\n{HELP}"));
            match flag.as_str() {
                "--llama" => options.llama = Some(value()?.into()),
                "--rounds" => options.rounds = value()?.parse().context("--rounds is a number")?,
                "--model" => options.model = Some(value()?.into()),
                "--no-http" => options.http = false,
                _ => anyhow::bail!("no flag {flag}\n{HELP}"),
            }
        }
        anyhow::ensure!(options.rounds > 0, "--rounds is at least 1");
        Ok(options)
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    let assets = assets::fetch()?;
    let llama = match &options.llama {
        Some(build) => Llama::built(build)?,
        None => Llama::build()?,
    };
    let model = options.model.clone().unwrap_or_else(|| assets.model.clone());
    let own = "own file".to_owned();
    let mut files = vec![(own, model.clone())];
    for kind in ["Q4_0", "Q4_K_M"] {
        files.push((kind.to_owned(), llama.quantised(&model, kind)?));
    }
    let gimbal = serve::build()?;
    let pace = build_program("pace")?;
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let mut measured = Map::new();
        for (name, file) in &files {
            let (mut ours, mut theirs) = (Map::new(), Map::new());
            // Work by work, so that both sides have the same seconds of a shared machine.
            for work in table::works() {
                ours.extend(paces(&pace, file, &assets.runtime, &["f16", work])?);
                theirs.insert(work.to_owned(), llama.pace(file, work)?.into());
            }
            measured.insert(name.clone(), json!({ "gimbal": ours, "llama.cpp": theirs }));
        }
        rounds.push(Value::Object(measured));
    }
    let mut report = json!({
        "model": file_name(&model),
        "machine": machine(),
        "llama.cpp": llama.version()?,
        "rounds": rounds,
    });
    let out = folder()?.join(format!("{}.json", file_name(&model)));
    keep(&report, &out)?;
    report["kl"] = quality::measure(&llama, &files, &assets.runtime)?;
    keep(&report, &out)?;
    report["others"] = others::measure(&model);
    keep(&report, &out)?;
    report["busy"] = busy(&pace, &model, &assets.runtime, options.rounds)?;
    keep(&report, &out)?;
    if options.http {
        let served = served::Served { gimbal: &gimbal, runtime: &assets.runtime, llama: &llama };
        report["prefix"] = served.prefix(&model)?;
        report["boot"] = served.boot(&model)?;
        for (name, file) in &files[..2] {
            report["http"][name] = served.compare(file, options.rounds)?;
            keep(&report, &out)?;
        }
    }
    let text = format!("{}\nraw data: {}\n", table::table(&report), out.display());
    std::io::stdout().write_all(text.as_bytes()).context("the table")
}

/// Our pace undisturbed and beside a loop that never sleeps on one of the cores, by turns.
fn busy(pace: &Path, model: &Path, runtime: &Path, rounds: usize) -> anyhow::Result<Value> {
    let mut measured = Vec::new();
    for _ in 0..rounds {
        let quiet = paces(pace, model, runtime, &[])?;
        let mut spin = Command::new("taskset");
        spin.args(["--cpu-list", "0", "sh", "-c", "while :; do :; done"]);
        let mut spin = spin.spawn().context("taskset, of util-linux")?;
        let busy = paces(pace, model, runtime, &[]);
        spin.kill().and_then(|()| spin.wait()).context("the busy loop")?;
        measured.push(json!({ "undisturbed": quiet, "busy": busy? }));
    }
    Ok(Value::Array(measured))
}

/// Writes what was measured until now.
fn keep(report: &Value, out: &Path) -> anyhow::Result<()> {
    std::fs::write(out, format!("{report:#}\n")).with_context(|| out.display().to_string())
}

/// Where everything of this command is kept.
fn folder() -> anyhow::Result<PathBuf> {
    let folder = assets::cache()?.join("peers");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Builds one of the programs that measure our library and returns its path.
pub(crate) fn build_program(name: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args(["build", "--release", "--package", "gimbal-conformance"]);
    command::run(cargo.args(["--bin", name]))?;
    Ok(serve::built("release", name))
}

/// What the program that measures our library prints; `more` are its arguments after the threads.
pub(crate) fn paces(
    pace: &Path,
    model: &Path,
    runtime: &Path,
    more: &[&str],
) -> anyhow::Result<Map<String, Value>> {
    let text = command::output(Command::new(pace).arg(model).arg(runtime).arg(THREADS).args(more))?;
    serde_json::from_str(&text).with_context(|| format!("pace printed {text:?}"))
}

/// The processor, the kernel and the day.
fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let cpu = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(':'));
    let date = command::output(Command::new("date").args(["-u", "+%F %R"])).unwrap_or_default();
    json!({
        "cpu": cpu.map_or("unknown", |(_, name)| name.trim()),
        "threads": THREADS,
        "system": read("/proc/sys/kernel/osrelease").trim(),
        "date": date.trim(),
        "load": read("/proc/loadavg").trim(),
    })
}
