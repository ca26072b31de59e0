//! The test runner: each test in its own process and time; the machine's, or built once into the
//! cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::{assets, command};

/// Any 0.9 knows `.config/nextest.toml`; this one is built where there is none.
const VERSION: &str = "0.9.143";

/// The program, if need be after compiling it (about five minutes on two cores).
pub(crate) fn ensure() -> anyhow::Result<PathBuf> {
    if command::succeeds("cargo-nextest", &["nextest", "--version"]) {
        return Ok(PathBuf::from("cargo-nextest"));
    }
    let home = assets::cache()?.join(format!("nextest-{VERSION}"));
    let program = home.join("bin/cargo-nextest");
    if !program.is_file() {
        eprintln!("building cargo-nextest {VERSION}, once");
        let mut install = Command::new("cargo");
        install.args(["install", "--locked", "--version", VERSION, "--root"]).arg(&home);
        command::run(install.arg("cargo-nextest")).context("cargo install cargo-nextest")?;
    }
    Ok(program)
}
