//! Every parser of bytes from outside, as functions that must never panic or hang.
//!
//! Reading order: `targets` lists them; `models`, `neffs`, `text`, `bodies` and `wire` hold
//! them; `mutate` makes new
//! Reading order: `targets` lists them; `models`, `text`, `bodies`, `modules`, `neffs` and `wire` hold them; `mutate` makes new
//! inputs for the short run in the tests. `cargo xtask fuzz` runs the same targets under libFuzzer
//! with coverage, for as long as it is told.

mod bodies;
mod models;
mod modules;
pub mod mutate;
mod neffs;
mod text;
mod wire;

use std::path::Path;

/// A parser with inputs to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Parses the bytes and uses what came of them; a panic is a finding.
    pub run: fn(&[u8]),
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of its language, to be put into inputs.
    pub words: &'static [&'static str],
}

/// All targets.
pub const TARGETS: [Target; 12] = [
    Target { name: "gguf", run: models::gguf, seeds: models::gguf_seeds, words: models::WORDS },
    Target {
        name: "safetensors",
        run: models::safetensors,
        seeds: models::safetensors_seeds,
        words: models::WORDS,
    },
    Target {
        name: "config",
        run: models::config,
        seeds: models::config_seeds,
        words: models::WORDS,
    },
    Target {
        name: "tokenizer",
        run: text::tokenizer,
        seeds: text::tokenizer_seeds,
        words: text::TOKENIZER_WORDS,
    },
    Target {
        name: "template",
        run: text::template,
        seeds: text::template_seeds,
        words: text::TEMPLATE_WORDS,
    },
    Target {
        name: "forgery",
        run: text::forgery,
        seeds: text::forgery_seeds,
        words: text::FORGERY_WORDS,
    },
    Target { name: "calls", run: text::calls, seeds: text::calls_seeds, words: text::CALLS_WORDS },
    Target { name: "body", run: bodies::body, seeds: bodies::seeds, words: bodies::WORDS },
    Target {
        name: "manifest",
        run: neffs::manifest,
        seeds: neffs::manifest_seeds,
        words: neffs::MANIFEST_WORDS,
    },
    Target { name: "neff", run: neffs::neff, seeds: neffs::seeds, words: neffs::WORDS },
    Target { name: "hlo", run: modules::module, seeds: modules::seeds, words: modules::WORDS },
    Target { name: "wire", run: wire::wire, seeds: wire::seeds, words: wire::WORDS },
];

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// A file of the repository, from `tests/golden`.
fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
