//! The Python packages that tests use as real clients, and the engines of `peers`: virtual
//! environments in the cache, pinned by version and SHA-256 in files of `tests/clients`. And those
//! for Node.
//!
//! A file `NAME.in` names what is wanted; `NAME.txt` pins it and all that it needs:
//! `uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::{assets, command, root};

/// The folder of the programs of an environment of such pins, installed where it is missing.
pub(crate) fn install(pins: &str, what: &str) -> anyhow::Result<PathBuf> {
    let pins = root().join("tests/clients").join(pins);
    let text = fs::read(&pins).with_context(|| pins.display().to_string())?;
    // The pins' hash is part of the path: other pins are another environment.
    let home = assets::cache()?.join(format!("clients-{:016x}", fnv1a(&text)));
    let (programs, whole) = (home.join("bin"), home.join("whole"));
    if whole.is_file() {
        return Ok(programs);
    }
    eprintln!("fetching {what}, and what they need");
    // Environments hold their own path, so it is made in place; a cut one is made anew.
    command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
    let mut pip = Command::new(programs.join("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--require-hashes", "--only-binary=:all:", "--requirement"]);
    command::run(pip.arg(&pins))?;
    fs::write(&whole, "").with_context(|| whole.display().to_string())?;
    Ok(programs)
}

/// The folder of the packages for Node, installed by their lock file where they are missing.
pub(crate) fn install_node() -> anyhow::Result<PathBuf> {
    const FILES: [&str; 2] = ["package.json", "package-lock.json"];
    let from = root().join("tests/clients/frameworks/node");
    let lock = from.join(FILES[1]);
    let text = fs::read(&lock).with_context(|| lock.display().to_string())?;
    let home = assets::cache()?.join(format!("clients-{:016x}", fnv1a(&text)));
    let whole = home.join("whole");
    if whole.is_file() {
        return Ok(home);
    }
    fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
    for file in FILES {
        fs::copy(from.join(file), home.join(file)).with_context(|| file.to_owned())?;
    }
    // `ci` takes what the lock file says, by hash, and starts with an empty folder.
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
    command::run(npm.current_dir(&home))?;
    fs::write(&whole, "").with_context(|| whole.display().to_string())?;
    Ok(home)
}

/// A short name for some bytes. **Source**: Fowler, Noll, Vo; offset and prime of FNV-1a 64.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
