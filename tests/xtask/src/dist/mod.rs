//! `cargo xtask dist`: one file that serves on a machine with libc and libstdc++ alone.
//!
//! The stripped release binary, followed by ONNX Runtime, all licences, the bill of materials, an
//! index and a mark; `appliance/gimbal/src/bundle.rs` reads it back. Next: `notices.rs`.

mod notices;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::assets::Assets;
use crate::{assets, command, elf, root, serve};

/// The last bytes of the file.
const MARK: &[u8; 8] = b"GIMBALv1";
/// ONNX Runtime's name in it.
const LIBRARY: &str = "libonnxruntime.so";
/// The promise of ARCHITECTURE.md.
const BYTES_MAX: usize = 80 << 20;

/// Words that only emulated devices of our tests have: the folder of each, and what a program has in it that was
/// linked with it.
const EMULATORS: [(&str, &str); 2] = [
    ("tests/emulators/libcuda", "EMULATED-CUDA-"),
    ("tests/emulators/libnrt", "EMULATOR of Gimbal's tests"),
];

/// Builds and tells where it is.
pub(crate) fn run() -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let path = make(&serve::build()?, &assets)?;
    eprintln!("{}", path.display());
    Ok(())
}

/// Makes the file from a built binary.
pub(crate) fn make(binary: &Path, assets: &Assets) -> anyhow::Result<PathBuf> {
    let name = format!("gimbal-{}-{}-linux", version()?, assets.arch);
    let library =
        fs::read(&assets.runtime).with_context(|| assets.runtime.display().to_string())?;
    append(binary, assets, &name, Some(library))
}

/// The same without ONNX Runtime, which an image has beside it.
pub(crate) fn make_without_library(binary: &Path, assets: &Assets) -> anyhow::Result<PathBuf> {
    append(binary, assets, &format!("gimbal-{}", assets.arch), None)
}

fn append(
    binary: &Path,
    assets: &Assets,
    name: &str,
    library: Option<Vec<u8>>,
) -> anyhow::Result<PathBuf> {
    let folder = binary.parent().context("the binary is in a folder")?.join("dist");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for file in [binary, &assets.runtime] {
        let arch = elf::Header::read(file)?.arch;
        if arch != assets.arch {
            bail!("{} is for {arch}, the file is to be for {}", file.display(), assets.arch);
        }
    }
    let path = folder.join(name);
    let part = folder.join("part");
    let strip = match assets.arch {
        std::env::consts::ARCH => "strip".to_owned(),
        other => format!("{other}-linux-gnu-strip"),
    };
    command::run(Command::new(strip).arg("-o").arg(&part).arg(binary))?;
    let mut bytes = fs::read(&part)?;
    refuse_emulators(&bytes)?;
    let program = bytes.len();
    let packages = notices::packages(assets.arch)?;
    let notices = [
        ("licenses.txt", notices::licences(&packages, &assets.licences)?.into_bytes()),
        ("sbom.json", notices::bill(&packages, &version()?)?.into_bytes()),
    ];
    let mut index = Vec::new();
    for (name, content) in library.map(|bytes| (LIBRARY, bytes)).into_iter().chain(notices) {
        let sha256: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
        index.push(json!({
            "name": name, "offset": bytes.len(), "bytes": content.len(), "sha256": sha256,
        }));
        eprintln!("  {name:18} {:6.1} MiB", mib(content.len()));
        bytes.extend(content);
    }
    let index = json!({ "files": index }).to_string();
    bytes.extend(index.as_bytes());
    bytes.extend(u64::try_from(index.len())?.to_le_bytes());
    bytes.extend(MARK);
    eprintln!("  {:18} {:6.1} MiB", "program", mib(program));
    eprintln!("  {:18} {:6.1} MiB of {} at most", "all", mib(bytes.len()), BYTES_MAX >> 20);
    if bytes.len() > BYTES_MAX {
        bail!("the file has {} bytes, {BYTES_MAX} at most", bytes.len());
    }
    // `strip` left the permissions of a program; a rename makes the file whole or not there.
    fs::write(&part, bytes)?;
    fs::rename(&part, &path)?;
    Ok(path)
}

/// The bill of materials of the program for a processor: CycloneDX 1.5, JSON.
pub(crate) fn bill(arch: &str, version: &str) -> anyhow::Result<String> {
    notices::bill(&notices::packages(arch)?, version)
}

/// Nobody shall get an emulated device in place of a real one.
fn refuse_emulators(program: &[u8]) -> anyhow::Result<()> {
    for (folder, words) in EMULATORS {
        let words = words.as_bytes();
        let begins = program.iter().enumerate().filter(|(_, byte)| **byte == words[0]);
        if begins.into_iter().any(|(at, _)| program[at..].starts_with(words)) {
            bail!("the program has {folder} in it, which only tests may use");
        }
    }
    Ok(())
}

/// Gimbal's version.
pub(crate) fn version() -> anyhow::Result<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    Ok(line.and_then(|l| l.strip_suffix('"')).context("a version in Cargo.toml")?.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1_u32 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_emulator_in_it_is_not_shipped() {
        for (folder, words) in EMULATORS {
            let source = command::output(
                Command::new("grep").current_dir(root()).args(["-rFl", words, folder]),
            );
            assert!(source.is_ok(), "{words:?} is not in {folder} any more");
            let program = [b"EEMULATE\0", words.as_bytes(), b"\0"].concat();
            let refused = refuse_emulators(&program).expect_err(folder);
            assert!(refused.to_string().contains(folder), "{refused}");
        }
        assert!(refuse_emulators(b"EMULATE and EMULATED ").is_ok());
    }
}
