//! The binary: `gimbal serve`, `generate`, `probe`.
//!
//! Reading order: `cli/` (what is asked), `config` (settings with types), `boot/` (probe → plan → open
//! → warm), `words` (tokenizer and template), `host` and `readiness` (limits of the machine and the
//! process), `source` (where a model comes from), `bundle` and `folder` (what a release appends to the binary), `failure` (exit codes),
//! `print`, `logging`. Everything else is in the crates.

#![forbid(unsafe_code)]

mod boot;
mod bundle;
mod cli;
mod config;
mod elsewhere;
mod failure;
mod folder;
mod host;
mod logging;
mod print;
mod readiness;
mod source;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    gimbal_onnx::process::set_up();
    match cli::run(std::env::args_os()) {
        Ok(()) => {
            logging::flush();
            ExitCode::SUCCESS
        }
        Err(failure) => failure.report(),
    }
}
