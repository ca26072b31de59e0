//! `cargo xtask test`: everything CI runs, in the order in which it fails fastest.

use std::process::Command;

use crate::{assets, browser, clients, command, dist, root, serve};

/// Runs all checks.
pub(crate) fn run() -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let clients =
        clients::install("requirements.txt", "test clients: the openai package, schemathesis")?;
    // Without it a test skips; it has said so.
    browser::ensure();
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &[])?;
    let binary = serve::build()?;
    let dist = dist::make(&binary, &assets)?;
    let environment = [
        ("GIMBAL_TEST_MODEL", assets.model),
        ("GIMBAL_TEST_BINARY", binary),
        ("GIMBAL_TEST_CLIENTS", clients),
        ("GIMBAL_TEST_DIST", dist),
        ("GIMBAL_ONNXRUNTIME", assets.runtime),
    ];
    cargo(&["test", "--workspace"], &environment)
}

fn cargo(arguments: &[&str], environment: &[(&str, std::path::PathBuf)]) -> anyhow::Result<()> {
    let mut cargo = Command::new("cargo");
    for (name, value) in environment {
        cargo.env(name, value);
    }
    command::run(cargo.current_dir(root()).args(arguments))
}
