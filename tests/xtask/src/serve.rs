//! `cargo xtask serve`: fetch, build, serve.

use std::path::PathBuf;
use std::process::{Child, Command};

use crate::{assets, command, root};

/// A server that ends with its scope.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs the command; `flags` go to `gimbal serve`.
pub(crate) fn run(flags: &[String]) -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let binary = build()?;
    let mut serve = Command::new(binary);
    serve.arg("serve").arg(assets.model).arg("--onnxruntime").arg(assets.runtime);
    // A variable, so that a flag of the caller still wins; also inside a container this machine is
    // meant.
    serve.env("GIMBAL_HOST", "127.0.0.1");
    command::run(serve.args(flags))
}

/// Builds the release binary and returns its path.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    command::run(cargo.current_dir(root()).args(["build", "--release", "--package", "gimbal"]))?;
    Ok(built("release", "gimbal"))
}

/// Where a program of a profile's build lies.
pub(crate) fn built(profile: &str, program: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| root().join("target")).join(profile).join(program)
}
