//! `cargo xtask golden`: makes `tests/golden/*.json` with numpy and llama.cpp.

use std::process::Command;

use crate::{assets, command, root};

/// What the scripts import. llama.cpp comes as the source of its Python package.
const PACKAGES: [&str; 6] = [
    "numpy==2.4.6",
    "gguf==0.19.0",
    "llama-cpp-python==0.3.36",
    "tokenizers==0.23.2",
    "sentencepiece==0.2.3",
    "protobuf==7.36.2",
];

/// Runs the command.
pub(crate) fn run() -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let venv = assets::cache()?.join("golden-venv");
    command::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let python = venv.join("bin/python");
    command::run(Command::new(&python).args(["-m", "pip", "install"]).args(PACKAGES))?;
    let folder = root().join("tests/golden");
    // One thread each: the two libraries' spinning threads would otherwise fight for the cores.
    let mut families = Command::new(&python);
    families.arg(folder.join("families.py")).arg(folder.join("families"));
    families.arg(root().join("tests/fuzz/seeds"));
    command::run(&mut families)?;
    let mut tokenizers = Command::new(&python);
    tokenizers.arg(folder.join("vocabularies.py")).arg(folder.join("tokenizers"));
    command::run(&mut tokenizers)?;
    let mut make = Command::new(&python);
    make.env("OPENBLAS_NUM_THREADS", "1").arg(folder.join("make.py"));
    command::run(make.arg(assets.model).arg(assets::gemma_model()?).arg(folder))
}
