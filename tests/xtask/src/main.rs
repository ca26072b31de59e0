//! `cargo xtask`: everything a person or CI does with this repository, by one name each.
//!
//! Reading order: `prerequisites` (what must be on the machine), `assets` (what is fetched, by
//! hash), `clients` (Python packages), `frameworks` (clients of other projects), `browser`, `serve`,
//! `check` (the tests), `golden`, `arm64` (with `elf`).
//! `tests/tidy.rs` holds the rules of style.

#![forbid(unsafe_code)]

mod apt;
mod arm64;
mod assets;
mod browser;
mod check;
mod clients;
mod command;
mod dist;
mod drivers;
mod elf;
mod frameworks;
mod fuzz;
mod golden;
mod hlo;
mod image;
mod kernels;
mod models;
mod nextest;
mod peers;
mod perf;
mod prerequisites;
mod serve;
mod served;
mod suites;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask COMMAND

  serve [FLAGS]   fetch what is missing, build, serve the default model on 127.0.0.1:8080
  test            everything CI runs
  fetch           only fetch what `serve` and `test` need
  dist            one file with everything inside: program, ONNX Runtime, licences
  arm64 [FLAGS]   the file of `dist` for Arm (aarch64 Linux), cross-built; with --test it runs, and
                  tests do, on emulated processors; with --count the instructions of its kernels are
                  counted, beside llama.cpp's (fetches its source, 77 MB)
  image container|check [--arch ARCH]   the container image as an OCI layout, without an engine, for
                  amd64, arm64 or both; `check`, as root: read by others, served, timed
  image disk [--arch ARCH]   as root: a raw disk for AMIs (images/README.md)
  boot-test [--arch ARCH]   that disk on an emulated machine: serves, goes off, tells a broken model
  image kubernetes   manifests against the schemas of Kubernetes and KServe (fetches 23 MB)
  kernels [--check]   the CUDA kernels' PTX made anew (fetches 132 MB of NVIDIA's compilers), and
                  assembled for every device; with --check only compared
  drivers         NVIDIA's own libraries of R470, R535, R550 (fetches 11 MB from Debian): each must
                  export what the CUDA backend calls, and answer as expected where no GPU is
  hlo             the modules for Inferentia and Trainium of every golden family by XLA, our
                  interpreter of HLO and that of graphs; times of a decode step (fetches 170 MB)
  fuzz [SECONDS [TARGET…]]   every parser under libFuzzer, 600 seconds each; needs a C++ compiler
  gemma           fetch Gemma 3 270M (its own terms), compare it with its references, time it
  big [BILLIONS]  a model of 1 to 8 billion random weights: time to first token, peak memory
  golden          make the golden files anew (compiles llama.cpp: 10 to 20 minutes)
  simulate ARGS   the policy laboratory: --device h100|t4|cpu2|inf2 --trace TRACE …
  seeds [COUNT]   the scheduler's simulation over COUNT seeds (1,000,000: about a minute)
  mutants         every deliberate mutation of the scheduler must be caught (about 15 minutes)
  mutants cuda [KERNEL…]   the same of the CUDA kernels, on the emulated device (about 15 minutes)
  pace            tokens a second of the CPU backend on the default model
  perf [--write]  fails where the CPU path lost more than a tenth against tests/perf.json
  peers [FLAGS]   llama.cpp on the same files and cores, by turns: the table of docs/performance.md
                  (builds llama.cpp: 10 to 20 minutes once; then about 20 minutes, idle please)
  attack [NAME…]  attacks a server on loopback, each bounded: what they cost (docs/security.md);
                  `overload` and `disconnects` [SECONDS] are crowds for minutes; --binary FILE
                  takes another server
  clients [--only NAME]   agents, structured output and evaluators of other projects against the
                  real binary (fetches 2 GB of Python packages)
  suites [llama.cpp|vllm] [FILE…]   these servers' own tests as they are against the real binary:
                  counts by file, and why some fail (docs/suites.md)
  screenshot      docs/dashboard.png anew: the dashboard after five minutes of load

FLAGS of `serve` are those of `gimbal serve`; `simulate` without ARGS lists its own.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let outcome = match arguments.first().map(String::as_str) {
        Some("serve") => serve::run(rest),
        Some("test") => check::run(),
        Some("fetch") => assets::fetch().map(|_| ()),
        Some("dist") => dist::run(),
        Some("arm64") => arm64::run(rest),
        Some("drivers") => drivers::run(rest),
        Some("kernels") => kernels::run(rest),
        Some("hlo") => hlo::run(rest),
        Some("image") => image::run(rest),
        Some("boot-test") => image::boot(rest),
        Some("fuzz") => fuzz::run(rest),
        Some("gemma") => models::gemma(),
        Some("big") => models::big(rest),
        Some("golden") => golden::run(),
        Some("simulate") => simulate("lab", rest),
        Some("mutants") if rest.first().is_some_and(|first| first == "cuda") => {
            kernels::mutants::run(&rest[1..])
        }
        Some(name @ ("seeds" | "mutants")) => simulate(name, rest),
        Some("pace") => pace(),
        Some("perf") => perf::run(rest),
        Some("peers") => peers::run(rest),
        Some("clients") => frameworks::run(rest),
        Some("suites") => suites::run(rest),
        Some("attack") => attack(rest),
        Some("screenshot") => screenshot(),
        Some("help" | "--help" | "-h") | None => {
            eprint!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => Err(anyhow::anyhow!("no command {other:?}\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command of the scheduler's simulation.
fn simulate(name: &str, arguments: &[String]) -> anyhow::Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args(["run", "--quiet", "--release", "--package", "gimbal-simulate"]);
    command::run(cargo.args(["--", name]).args(arguments))
}

/// Measures the CPU backend.
fn pace() -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args(["run", "--quiet", "--release", "--package"]);
    cargo.args(["gimbal-conformance", "--bin", "pace", "--"]);
    command::run(cargo.arg(assets.model).arg(assets.runtime))
}

/// Attacks a server; the release binary unless another one is named.
fn attack(arguments: &[String]) -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let (binary, rest) = match arguments {
        [flag, binary, rest @ ..] if flag == "--binary" => (PathBuf::from(binary), rest),
        rest => (serve::build()?, rest),
    };
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("GIMBAL_ONNXRUNTIME", assets.runtime);
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "gimbal-conformance",
        "--bin",
        "attack",
    ]);
    command::run(cargo.arg("--").arg(binary).arg(assets.model).args(rest))
}

/// Takes the picture of the README. Longer than the history that the page shows.
fn screenshot() -> anyhow::Result<()> {
    const SECONDS: &str = "330";
    if !browser::ensure() {
        anyhow::bail!("a picture needs a browser");
    }
    let assets = assets::fetch()?;
    let binary = serve::build()?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("GIMBAL_TEST_BINARY", binary).args(["run", "--quiet"]);
    cargo.args(["--package", "gimbal-conformance", "--bin", "screenshot", "--"]);
    let out = root().join("docs/dashboard.png");
    command::run(cargo.arg(assets.model).arg(assets.runtime).arg(out).arg(SECONDS))
}

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
