//! `cargo xtask`: everything a person or CI does with this repository, by one name each.
//!
//! Reading order: `prerequisites` (what must be on the machine), `assets` (what is fetched, by
//! hash), `serve`, `check` (the tests), `golden`. `tests/tidy.rs` holds the rules of style.

#![forbid(unsafe_code)]

mod assets;
mod check;
mod command;
mod golden;
mod prerequisites;
mod serve;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  serve [FLAGS]   fetch what is missing, build, serve the default model on 127.0.0.1:8080
  test            everything CI runs
  fetch           only fetch what `serve` and `test` need
  golden          make the golden files anew (compiles llama.cpp: 10 to 20 minutes)

FLAGS of `serve` are those of `gimbal serve`.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let outcome = match arguments.first().map(String::as_str) {
        Some("serve") => serve::run(rest),
        Some("test") => check::run(),
        Some("fetch") => assets::fetch().map(|_| ()),
        Some("golden") => golden::run(),
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

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
