//! What the real model must do on the real backend, against golden files.
//!
//! `golden` reads the committed files, `rig` drives a backend without a scheduler, `quality`
//! compares distributions, `logged` reads those of llama.cpp, `teacher` follows the reference, `tokenizer`
//! makes a model file's tokenizer, `wide` a model file of f32, `server` starts the real binary, `client` and `crowd` talk to it,
//! `emulated` asks golden prompts of emulated devices, `browser` looks at its page, `attack`
//! does it harm. The tests need files that `cargo xtask test` fetches and names in
//! the environment; without them they say so and pass nothing off as run.

pub mod attack;
pub mod browser;
pub mod client;
pub mod crowd;
pub mod emulated;
pub mod golden;
pub mod logged;
pub mod quality;
pub mod rig;
pub mod server;
pub mod teacher;
pub mod tokenizer;
pub mod wide;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Names the file in which `cargo xtask test` counts what was not tried.
const SKIPS: &str = "GIMBAL_TEST_SKIPS";

/// The default model: `GIMBAL_TEST_MODEL`, set by `cargo xtask test`.
#[must_use]
pub fn model_path() -> Option<PathBuf> {
    path_of("GIMBAL_TEST_MODEL")
}

/// The ONNX Runtime library: `GIMBAL_ONNXRUNTIME`, set by `cargo xtask test`.
#[must_use]
pub fn library_path() -> Option<PathBuf> {
    path_of("GIMBAL_ONNXRUNTIME")
}

/// The path that a variable names; says so where it is not set.
///
/// # Panics
/// It is not set although `cargo xtask test` runs this, which sets them all.
#[must_use]
pub fn path_of(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        assert!(std::env::var_os(SKIPS).is_none(), "`cargo xtask test` does not set {variable}");
        eprintln!("skip: {variable} is not set; `cargo xtask test` sets it");
    }
    path
}

/// Tells that something is not tested because this machine lacks it; `cargo xtask test` counts.
pub fn skip(lack: &str) {
    eprintln!("skip: {lack}");
    let Some(list) = std::env::var_os(SKIPS) else { return };
    let list = File::options().create(true).append(true).open(list);
    // One write for a line, so that those of other processes stay whole.
    if let Err(error) = list.and_then(|mut list| list.write_all(format!("{lack}\n").as_bytes())) {
        eprintln!("a skip that is not counted: {error}");
    }
}
