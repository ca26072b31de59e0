//! `cargo xtask arm64`: the file of `dist` for Arm (aarch64 Linux), built on another processor.
//!
//! With `--test` it runs, and tests do, under qemu's user mode: emulated processors, whose times say
//! nothing. With `--count` the instructions of its kernels are counted, beside llama.cpp's. Next:
//! `emulator`, where qemu comes from; `level`, what is emulated; `served`, outside; then `count` with `disassembly`,
//! `llama` and `roofline`.

mod count;
mod disassembly;
mod emulator;
mod level;
mod llama;
mod roofline;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use self::level::{LEVELS, Level};
use crate::assets::Assets;
use crate::{apt, assets, command, dist, elf, root, serve, served};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The cross toolchain's programs begin with it.
const TOOLS: &str = "aarch64-linux-gnu";
/// Its headers and libraries lie below.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";
/// Debian's packages of the linker, and of the libc it links.
const PACKAGES: [&str; 2] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
/// The newest minor version of glibc 2 that the binary may ask for: that of Amazon Linux 2023.
const GLIBC_MAX: u32 = 34;
/// What is tested on each level: all that has code for a processor, or reads what one says of itself.
const TESTED: [&str; 5] =
    ["gimbal-cpu", "gimbal-batch", "gimbal-model", "gimbal-hal", "gimbal-machine"];
/// The test of the tables of kernels, and the variable that tells it which there must be.
const TABLES_TEST: [&str; 4] = ["--package", "gimbal-cpu", "--test", "levels"];
const TABLES_VARIABLE: &str = "GIMBAL_TEST_KERNELS";
/// The largest pages that kernels for Arm are built with: segments that are aligned to less do not load.
const PAGE_MAX: u64 = 64 << 10;

/// What the default model chooses in f32; so many of its cases and their tokens are compared.
const GOLDEN: &str = "tests/golden/smollm2.json";
const CASES: usize = 3;
const TOKENS: usize = 8;

/// Runs the command: `[--test] [--count]`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let known = ["--test", "--count"];
    if let Some(other) = arguments.iter().find(|flag| !known.contains(&flag.as_str())) {
        bail!("arm64 takes --test and --count, not {other}");
    }
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let binary = program()?;
    let assets = assets::fetch_for("aarch64")?;
    for file in [&binary, &assets.runtime] {
        check_pages(file)?;
    }
    let file = dist::make(&binary, &assets)?;
    eprintln!("{}", file.display());
    if asked("--test") {
        test(&file, &assets)?;
    }
    if asked("--count") {
        count::run(&binary)?;
    }
    Ok(())
}

/// The lints of the gate for this processor; nothing is linked, so no C compiler is needed.
///
/// # Errors
/// A lint, or the compiler's library cannot be had.
pub(crate) fn lint(profile: &str) -> anyhow::Result<()> {
    let lints = ["clippy", "--workspace", "--exclude", "xtask", "--all-targets", "--quiet"];
    let mut cargo = cargo(&lints);
    command::run(cargo.args(["--profile", profile, "--", "-D", "warnings"]))
}

/// The compiler's library for the target.
///
/// # Errors
/// rustup cannot add it.
pub(crate) fn ensure_library() -> anyhow::Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(root()).args(["--print", "target-libdir", "--target", TARGET]);
    if !Path::new(command::output(&mut rustc)?.trim_ascii_end()).is_dir() {
        eprintln!("installing Rust's standard library for {TARGET}");
        let mut rustup = Command::new("rustup");
        command::run(rustup.current_dir(root()).args(["target", "add", TARGET]))?;
    }
    Ok(())
}

/// The linker and its libc.
fn ensure_linker() -> anyhow::Result<()> {
    let has_libc = Path::new(LIBRARIES).join("include/stdio.h").is_file();
    if !has_libc || !command::succeeds(&linker(), &["--version"]) {
        eprintln!("installing {}", PACKAGES.join(" "));
        apt::install(&PACKAGES).context("a linker for Arm")?;
    }
    Ok(())
}

fn linker() -> String {
    format!("{TOOLS}-gcc")
}

/// Cargo with the cross linker; `CARGO_TARGET_…` as it spells the target. Names of functions tell their
/// generic arguments: `count` looks for them.
fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", linker());
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Csymbol-mangling-version=v0");
    cargo.args(arguments).args(["--target", TARGET]);
    cargo
}

/// The program, built; its glibc is old enough.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    ensure_library()?;
    ensure_linker()?;
    let binary = build()?;
    check_libc(&binary)?;
    Ok(binary)
}

/// qemu's user mode for this processor, if need be after fetching it.
pub(crate) fn emulator() -> anyhow::Result<String> {
    emulator::ensure()
}

fn build() -> anyhow::Result<PathBuf> {
    command::run(&mut cargo(&["build", "--release", "--package", "gimbal"]))?;
    Ok(serve::built(&format!("{TARGET}/release"), "gimbal"))
}

/// Tells the glibc that the binary needs; too new a one is an error.
fn check_libc(binary: &Path) -> anyhow::Result<()> {
    let minor = libc_of(binary, "aarch64")?;
    if minor > GLIBC_MAX {
        bail!("the binary needs glibc 2.{minor}; 2.{GLIBC_MAX} is the newest it may need");
    }
    eprintln!("the binary needs glibc 2.{minor}");
    Ok(())
}

/// The minor version of glibc 2 that a binary for a processor needs.
pub(crate) fn libc_of(binary: &Path, arch: &str) -> anyhow::Result<u32> {
    let mut objdump = match arch {
        std::env::consts::ARCH => Command::new("objdump"),
        _ => Command::new(format!("{TOOLS}-objdump")),
    };
    let symbols = command::output(objdump.arg("-T").arg(binary))?;
    glibc_floor(&symbols).context("the binary names no version of glibc")
}

/// The newest minor version of glibc 2 in what `objdump -T` printed.
fn glibc_floor(symbols: &str) -> Option<u32> {
    let versions = symbols.split("GLIBC_2.").skip(1);
    versions.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).max()
}

/// Every segment of a program must begin at a multiple of the largest pages.
fn check_pages(file: &Path) -> anyhow::Result<()> {
    let align = elf::Header::read(file)?.align_min(file)?;
    let name = file.file_name().unwrap_or_default().display();
    ensure!(align >= PAGE_MAX, "{name} is aligned to {align} bytes: no pages of {PAGE_MAX}");
    eprintln!("{name} loads on pages of up to {} KiB", align >> 10);
    Ok(())
}

/// Runs the file, and the tests of [`TESTED`], on each level.
fn test(file: &Path, assets: &Assets) -> anyhow::Result<()> {
    let emulator = emulator::ensure()?;
    let cases = golden()?;
    for level in &LEVELS {
        eprintln!("\nemulated {}: kernels {}", level.cpu, level.tables.join(" "));
        let emulated = |arguments: &[&str]| {
            let mut emulated = level.command(&emulator, file);
            emulated.args(arguments);
            emulated
        };
        command::run(&mut emulated(&["--version"]))?;
        command::output(&mut emulated(&["licenses"]))?;
        check_probe(level, &mut emulated(&["probe", "--json"]))?;
        for case in &cases {
            case.compare(&mut emulated(&["generate", "--token-ids", "--model"]), assets)?;
        }
        let model = assets.model.to_str().context("the model's path is not UTF-8")?;
        served::check(&mut emulated(&["serve", "--model", model]))?;
        run_tests(level, &emulator)?;
    }
    Ok(())
}

/// `probe` must name the level's table.
fn check_probe(level: &Level, probe: &mut Command) -> anyhow::Result<()> {
    let said: Value = serde_json::from_str(&command::output(probe)?).context("probe --json")?;
    let (cpu, pages) = (&said["machine"]["cpu"], &said["machine"]["system"]["page_bytes"]);
    ensure!(cpu["kernels"] == level.table(), "probe names the kernels {}", cpu["kernels"]);
    ensure!(pages.as_u64().is_some_and(u64::is_power_of_two), "probe tells pages of {pages}");
    eprintln!("probe: {} with kernels {}, pages of {pages} bytes", cpu["name"], cpu["kernels"]);
    Ok(())
}

/// The tests on a level, and aloud the one of the tables that run there.
fn run_tests(level: &Level, emulator: &str) -> anyhow::Result<()> {
    let runner = format!("target.{TARGET}.runner={:?}", level.runner(emulator));
    let run = |packages: &[&str], flags: &[&str]| {
        let mut tests = cargo(&["test", "--quiet", "--profile", "ci", "--config", &runner]);
        tests.args(packages).env(TABLES_VARIABLE, level.tables.join(" "));
        command::run(tests.arg("--").args(flags))
    };
    run(&TABLES_TEST, &["--nocapture", "--test-threads", "1"])?;
    let packages: Vec<&str> = TESTED.iter().flat_map(|package| ["--package", package]).collect();
    run(&packages, &[])
}

/// A text and what the default model says to it.
struct Case {
    text: String,
    tokens: Vec<String>,
}

/// The first cases of the golden file.
fn golden() -> anyhow::Result<Vec<Case>> {
    let golden = std::fs::read(root().join(GOLDEN)).context(GOLDEN)?;
    let golden: Value = serde_json::from_slice(&golden).context(GOLDEN)?;
    let cases = golden["cases"].as_array().and_then(|cases| cases.get(..CASES)).context(GOLDEN)?;
    let case = |case: &Value| {
        let tokens = case["tokens"].as_array()?.get(..TOKENS)?;
        let tokens = tokens.iter().map(Value::to_string).collect();
        Some(Case { text: case["text"].as_str()?.to_owned(), tokens })
    };
    cases.iter().map(case).collect::<Option<_>>().context(GOLDEN)
}

impl Case {
    /// The default model must choose these tokens: `generate` up to its flag `--model`.
    fn compare(&self, generate: &mut Command, assets: &Assets) -> anyhow::Result<()> {
        generate.arg(&assets.model).args(["--packed-cache", "off"]);
        generate.args(["--max-new-tokens", &TOKENS.to_string(), &self.text]);
        let said = command::output(generate)?;
        let found: Vec<&str> = said.split_whitespace().collect();
        if found != self.tokens {
            bail!("after {:?} the tokens are {found:?}, in {GOLDEN} {:?}", self.text, self.tokens);
        }
        eprintln!("{TOKENS} tokens after {:?} are those of {GOLDEN}", self.text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_newest_version_of_glibc_is_found() {
        let symbols = "0 DF *UND* 0 (GLIBC_2.17) read\n0 DF *UND* 0 (GLIBC_2.34) stat\n\
                       0 DO *UND* 0 (GLIBC_2.9) environ\n0 DF *UND* 0 (GCC_3.0) _Unwind_Resume\n";
        assert_eq!(super::glibc_floor(symbols), Some(34));
        assert_eq!(super::glibc_floor("0 DF *UND* 0 (GCC_3.0) _Unwind_Resume"), None);
    }
}
