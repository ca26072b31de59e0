//! `cargo xtask test`: everything CI runs, in the order in which it fails fastest.
//!
//! The world is compiled once, in the profile `ci`; `nextest` gives every test its own process and
//! its time limit (`.config/nextest.toml`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use anyhow::Context;

use crate::{arm64, assets, browser, clients, command, dist, image, nextest, root, serve};

/// The profile of Cargo.toml in which everything is built.
const PROFILE: &str = "ci";

/// Runs all checks.
pub(crate) fn run() -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let clients =
        clients::install("requirements.txt", "test clients: the openai package, schemathesis")?;
    let nextest = nextest::ensure()?;
    // Without it a test skips; it has said so.
    browser::ensure();
    cargo(&["fmt", "--all", "--check"])?;
    image::kubernetes::check()?;
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--profile", PROFILE];
    cargo(&[&lints[..], &["--", "-D", "warnings"]].concat())?;
    let skips = serve::built(PROFILE, "skips.txt");
    forget(&skips)?;
    lint_for_arm(&skips)?;
    cargo(&["build", "--workspace", "--bins", "--tests", "--profile", PROFILE])?;
    let binary = serve::built(PROFILE, "gimbal");
    let dist = dist::make(&binary, &assets)?;
    let mut tests = Command::new(nextest);
    tests.current_dir(root()).args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    tests.args(["--cargo-profile", PROFILE]);
    let environment = [
        ("GIMBAL_TEST_MODEL", &assets.model),
        ("GIMBAL_TEST_BINARY", &binary),
        ("GIMBAL_TEST_CLIENTS", &clients),
        ("GIMBAL_TEST_DIST", &dist),
        ("GIMBAL_TEST_SKIPS", &skips),
        ("GIMBAL_ONNXRUNTIME", &assets.runtime),
    ];
    let outcome = command::run(tests.envs(environment));
    tell(&skips)?;
    outcome
}

/// The same lints for Arm; where the compiler's library for it cannot be had that is a skip, told with
/// those of the tests. On Arm itself they have been run.
fn lint_for_arm(skips: &Path) -> anyhow::Result<()> {
    if cfg!(target_arch = "aarch64") {
        return Ok(());
    }
    if let Err(error) = arm64::ensure_library() {
        let skip = format!("lints for Arm: {error:#}\n");
        return fs::write(skips, skip).with_context(|| skips.display().to_string());
    }
    arm64::lint(PROFILE)
}

/// Builds the server in the profile of the tests.
pub(crate) fn build_gimbal() -> anyhow::Result<PathBuf> {
    cargo(&["build", "--package", "gimbal", "--profile", PROFILE])?;
    Ok(serve::built(PROFILE, "gimbal"))
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    command::run(Command::new("cargo").current_dir(root()).args(arguments))
}

/// Skips of an earlier run are not this one's.
fn forget(skips: &Path) -> anyhow::Result<()> {
    match fs::remove_file(skips) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| skips.display().to_string())
        }
        _ => Ok(()),
    }
}

/// What this machine kept tests from; what `xtask` owes them is no skip but a failure.
fn tell(skips: &Path) -> anyhow::Result<()> {
    if !skips.exists() {
        return Ok(());
    }
    let told = fs::read_to_string(skips).with_context(|| skips.display().to_string())?;
    let lines: std::collections::BTreeSet<&str> = told.lines().collect();
    eprintln!("not tried on this machine ({} times): ", told.lines().count());
    lines.iter().for_each(|line| eprintln!("  {line}"));
    Ok(())
}
