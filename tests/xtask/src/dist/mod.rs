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
/// The promise of ARCHITECTURE.md.
const BYTES_MAX: usize = 80 << 20;

/// Builds and tells where it is.
pub(crate) fn run() -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let path = make(&serve::build()?, &assets)?;
    eprintln!("{}", path.display());
    Ok(())
}

/// Makes the file from a built binary.
pub(crate) fn make(binary: &Path, assets: &Assets) -> anyhow::Result<PathBuf> {
    let folder = binary.parent().context("the binary is in a folder")?.join("dist");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for file in [binary, &assets.runtime] {
        let arch = elf::Header::read(file)?.arch;
        if arch != assets.arch {
            bail!("{} is for {arch}, the file is to be for {}", file.display(), assets.arch);
        }
    }
    let name = format!("gimbal-{}-{}-linux", version()?, assets.arch);
    let path = folder.join(name);
    let part = folder.join("part");
    let strip = match assets.arch {
        std::env::consts::ARCH => "strip".to_owned(),
        other => format!("{other}-linux-gnu-strip"),
    };
    command::run(Command::new(strip).arg("-o").arg(&part).arg(binary))?;
    let mut bytes = fs::read(&part)?;
    let program = bytes.len();
    let packages = notices::packages(assets.arch)?;
    let files = [
        ("libonnxruntime.so", fs::read(&assets.runtime)?),
        ("licenses.txt", notices::licences(&packages, &assets.licences)?.into_bytes()),
        ("sbom.json", notices::bill(&packages, &version()?)?.into_bytes()),
    ];
    let mut index = Vec::new();
    for (name, content) in files {
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

fn version() -> anyhow::Result<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    Ok(line.and_then(|l| l.strip_suffix('"')).context("a version in Cargo.toml")?.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1_u32 << 20)
}
