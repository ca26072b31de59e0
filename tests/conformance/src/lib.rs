//! What the real model must do on the real backend, against golden files.
//!
//! `golden` reads the committed files, `rig` drives a backend without a scheduler, `quality`
//! compares distributions, `logged` reads those of llama.cpp, `teacher` follows the reference, `tokenizer`
//! makes a model file's tokenizer, `server` starts the real binary, `client` and `crowd` talk to it,
//! `browser` looks at its page, `attack`
//! does it harm. The tests need files that `cargo xtask test` fetches and names in
//! the environment; without them they say so and pass nothing off as run.

pub mod attack;
pub mod browser;
pub mod client;
pub mod crowd;
pub mod golden;
pub mod logged;
pub mod quality;
pub mod rig;
pub mod server;
pub mod teacher;
pub mod tokenizer;

use std::path::PathBuf;

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
#[must_use]
pub fn path_of(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        eprintln!("skip: {variable} is not set; `cargo xtask test` sets it");
    }
    path
}
