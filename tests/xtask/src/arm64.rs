//! `cargo xtask arm64`: the file of `dist` for Arm (aarch64 Linux), built on another processor.
//!
//! With `--test` it runs, and tests do, under qemu's user mode: an emulated processor, whose times say
//! nothing. Next: `emulator`, where qemu comes from.

mod emulator;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::assets::Assets;
use crate::{apt, assets, command, dist, root, serve};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The cross toolchain's programs begin with it.
const TOOLS: &str = "aarch64-linux-gnu";
/// Its headers and libraries lie below.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";
/// Debian's packages of the linker, and of the libc it links.
const PACKAGES: [&str; 2] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
/// The newest minor version of glibc 2 that the binary may ask for: that of Amazon Linux 2023.
const GLIBC_MAX: u32 = 34;
/// What is linted and tested: all that has code for a processor, or reads what one says of itself.
const TESTED: [&str; 3] = ["gimbal-cpu", "gimbal-batch", "gimbal-machine"];

/// What the default model chooses in f32; so many of its tokens are compared.
const GOLDEN: &str = "tests/golden/smollm2.json";
const TOKENS: usize = 16;

/// Runs the command: `[--test]`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let is_test = match arguments {
        [] => false,
        [flag] if flag == "--test" => true,
        other => bail!("arm64 takes --test or nothing, not {}", other.join(" ")),
    };
    ensure_compiler()?;
    let binary = build()?;
    check_libc(&binary)?;
    let assets = assets::fetch_for("aarch64")?;
    let file = dist::make(&binary, &assets)?;
    eprintln!("{}", file.display());
    if is_test { test(&file, &assets) } else { Ok(()) }
}

/// The compiler's library for the target, the linker and its libc.
fn ensure_compiler() -> anyhow::Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(root()).args(["--print", "target-libdir", "--target", TARGET]);
    if !Path::new(command::output(&mut rustc)?.trim_ascii_end()).is_dir() {
        eprintln!("installing Rust's standard library for {TARGET}");
        let mut rustup = Command::new("rustup");
        command::run(rustup.current_dir(root()).args(["target", "add", TARGET]))?;
    }
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

/// Cargo with the cross linker; `CARGO_TARGET_…` as it spells the target.
fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", linker());
    cargo.args(arguments).args(["--target", TARGET]);
    cargo
}

fn build() -> anyhow::Result<PathBuf> {
    command::run(&mut cargo(&["build", "--release", "--package", "gimbal"]))?;
    Ok(serve::built(&format!("{TARGET}/release"), "gimbal"))
}

/// Tells the glibc that the binary needs; too new a one is an error.
fn check_libc(binary: &Path) -> anyhow::Result<()> {
    let mut objdump = Command::new(format!("{TOOLS}-objdump"));
    let symbols = command::output(objdump.arg("-T").arg(binary))?;
    let minor = glibc_floor(&symbols).context("the binary names no version of glibc")?;
    if minor > GLIBC_MAX {
        bail!("the binary needs glibc 2.{minor}; 2.{GLIBC_MAX} is the newest it may need");
    }
    eprintln!("the binary needs glibc 2.{minor}");
    Ok(())
}

/// The newest minor version of glibc 2 in what `objdump -T` printed.
fn glibc_floor(symbols: &str) -> Option<u32> {
    let versions = symbols.split("GLIBC_2.").skip(1);
    versions.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).max()
}

/// Runs the file, lints, and the tests of [`TESTED`]; all but the lints emulated.
fn test(file: &Path, assets: &Assets) -> anyhow::Result<()> {
    let emulator = emulator::ensure()?;
    for cpu in emulator::CPUS {
        let emulated = |arguments: &[&str]| {
            let mut emulated = Command::new(&emulator);
            // The file has a runtime of its own; another one is for this machine.
            emulated
                .env_remove("GIMBAL_ONNXRUNTIME")
                .args(["-cpu", cpu, "-L", LIBRARIES])
                .arg(file)
                .args(arguments);
            emulated
        };
        command::run(&mut emulated(&["--version"]))?;
        command::run(&mut emulated(&["probe"]))?;
        command::output(&mut emulated(&["licenses"]))?;
        compare(&mut emulated(&["generate", "--token-ids", "--packed-cache", "off"]), assets)?;
    }
    let packages: Vec<&str> = TESTED.iter().flat_map(|package| ["--package", package]).collect();
    let mut lints = cargo(&["clippy", "--profile", "ci", "--all-targets"]);
    command::run(lints.args(&packages).args(["--", "-D", "warnings"]))?;
    let mut tests = cargo(&["test", "--profile", "ci"]);
    tests.args(&packages);
    let runner = [emulator.as_str(), "-cpu", emulator::CPUS[0], "-L", LIBRARIES];
    command::run(tests.arg("--config").arg(format!("target.{TARGET}.runner={runner:?}")))
}

/// The default model must choose the tokens of the golden file: `generate` with its first flags.
fn compare(generate: &mut Command, assets: &Assets) -> anyhow::Result<()> {
    let golden = std::fs::read(root().join(GOLDEN)).context(GOLDEN)?;
    let golden: Value = serde_json::from_slice(&golden).context(GOLDEN)?;
    let readme = golden["readme"].as_u64().and_then(|index| usize::try_from(index).ok());
    let case = &golden["cases"][readme.context(GOLDEN)?];
    let text = case["text"].as_str().context(GOLDEN)?;
    let expect = case["tokens"].as_array().and_then(|tokens| tokens.get(..TOKENS));
    let expect: Vec<String> = expect.context(GOLDEN)?.iter().map(Value::to_string).collect();
    generate.arg("--model").arg(&assets.model);
    generate.args(["--max-new-tokens", &TOKENS.to_string(), text]);
    eprintln!("generating {TOKENS} tokens after {text:?}: about half a minute");
    let said = command::output(generate)?;
    let found: Vec<&str> = said.split_whitespace().collect();
    if found != expect {
        bail!("the emulated file chose the tokens {found:?}, {GOLDEN} has {expect:?}");
    }
    eprintln!("they are those of {GOLDEN}");
    Ok(())
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
