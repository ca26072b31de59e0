//! `cargo xtask fuzz`: the fuzz targets under libFuzzer, with coverage.
//!
//! Coverage comes from LLVM's pass by flags of the stable compiler. Inputs that were found stay in the
//! cache, so the next run goes on where this one ended.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::{assets, command, root};

/// All targets; `tests/fuzz/src/lib.rs` holds them.
const TARGETS: [&str; 12] = [
    "gguf",
    "safetensors",
    "config",
    "tokenizer",
    "template",
    "forgery",
    "calls",
    "body",
    "manifest",
    "neff",
    "hlo",
    "wire",
];
/// Counters at edges and at comparisons, as `cargo fuzz` sets them.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                        -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs the command: `[SECONDS] [TARGET…]`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (seconds, names) = match arguments.split_first() {
        Some((first, names)) => (first.parse::<u32>().context("seconds a target")?, names),
        None => (600, arguments),
    };
    let names: Vec<&str> = match names {
        [] => TARGETS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = names.iter().find(|name| !TARGETS.contains(name)) {
        bail!("no target {unknown}; known: {}", TARGETS.join(", "));
    }
    let binary = build()?;
    let cache = assets::cache()?.join("fuzz");
    let mut found = Vec::new();
    // Two at a time: a machine of CI has two cores.
    for pair in names.chunks(2) {
        let runs = pair.iter().map(|name| start(&binary, &cache, name, seconds));
        for run in runs.collect::<anyhow::Result<Vec<_>>>()? {
            let Run { name, child, log } = run;
            let status = child.wait_with_output().context("the fuzzer")?.status;
            let text = std::fs::read_to_string(&log).with_context(|| log.display().to_string())?;
            eprintln!("{name}: {}", summary(&text));
            if !status.success() {
                found.push(format!("{name} ({})", log.display()));
            }
        }
    }
    if !found.is_empty() {
        bail!("found something in {}: the log names the input", found.join(", "));
    }
    Ok(())
}

/// A target that runs.
struct Run {
    name: String,
    child: std::process::Child,
    log: PathBuf,
}

fn build() -> anyhow::Result<PathBuf> {
    let rustc = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let about = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).context("no host")?;
    let target = root().join("target/fuzz");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", COVERAGE);
    // Checks that a release leaves out are findings here.
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    cargo.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "off");
    // With --target the flags are not those of build scripts and macros.
    cargo.args(["build", "--release", "--package", "gimbal-fuzz", "--features", "libfuzzer"]);
    command::run(cargo.args(["--bin", "libfuzzer", "--target", host]))?;
    Ok(target.join(host).join("release/libfuzzer"))
}

fn start(binary: &Path, cache: &Path, name: &str, seconds: u32) -> anyhow::Result<Run> {
    let (corpus, words) = (cache.join(name), cache.join(format!("{name}.dict")));
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args([
        "run",
        "--quiet",
        "--package",
        "gimbal-fuzz",
        "--bin",
        "seeds",
    ]);
    command::run(cargo.arg("--").arg(name).arg(&corpus).arg(&words))?;
    let log = cache.join(format!("{name}.log"));
    let output = std::fs::File::create(&log).with_context(|| log.display().to_string())?;
    let mut fuzzer = Command::new(binary);
    fuzzer.env("GIMBAL_FUZZ_TARGET", name).current_dir(cache);
    fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-dict={}", words.display()));
    fuzzer.args([
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-max_len=262144",
        "-print_final_stats=1",
        "-use_value_profile=1",
    ]);
    fuzzer.arg(format!("-artifact_prefix={name}-")).arg(corpus).stdout(Stdio::null());
    let child = fuzzer.stderr(output).spawn().context("cannot start the fuzzer")?;
    Ok(Run { name: name.to_owned(), child, log })
}

/// Executions, edges and the last line of a log that says what was found.
fn summary(log: &str) -> String {
    let executions = log
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:").map(str::trim));
    let edges = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once(" cov: ")?;
        rest.split_whitespace().next()
    });
    let wrong = log.lines().find(|line| line.contains("ERROR: libFuzzer"));
    let wrong = wrong.map_or_else(String::new, |line| format!(", {line}"));
    format!("{} executions, {} edges{wrong}", executions.unwrap_or("?"), edges.unwrap_or("?"))
}
