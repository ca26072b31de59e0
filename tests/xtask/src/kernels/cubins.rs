//! Cubins: what assemblers make of the PTX, and how it is kept in the repository.
//!
//! A cubin is machine code for one architecture: a driver loads it without its compiler. Which devices
//! and drivers take which is not said here but in `backends/cuda/src/images.rs`.
//! Next: `tools`, the assemblers, and `usage`, what they say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::tools::{ASSEMBLERS, Assembler};
use super::usage::{self, Usage};
use super::{folder, hash, name_of};

/// The most bytes that all compressed cubins may have: a part of every binary.
const PACKED_MAX: u64 = 4 << 20;

/// A module, assembled for a device.
pub(super) struct Assembled {
    /// The compute capability: `86` is 8.6.
    pub(super) device: u32,
    pub(super) assembler: &'static Assembler,
    /// The PTX, without its ending.
    pub(super) module: &'static str,
    pub(super) usages: BTreeMap<String, Usage>,
    cubin: Vec<u8>,
}

impl Assembled {
    /// For people.
    pub(super) fn name(&self) -> String {
        format!("sm_{} by ptxas {}", self.device, self.assembler.version)
    }

    fn file(&self) -> String {
        format!("sm{}.cubin", self.device)
    }

    /// Its section of the manifest; nothing of one that is only tried.
    pub(super) fn section(&self) -> String {
        if !self.assembler.is_shipped {
            return String::new();
        }
        let (file, ptx) = (self.file(), self.module);
        let (hash, tool) = (hash(&self.cubin), self.assembler.tool.requirement());
        format!(
            "\n[cubins.\"{file}\"]\nsha256 = \"{hash}\"\nassembler = {tool:?}\nptx = \"{ptx}.ptx\"\n"
        )
    }

    /// Writes the cubin, or compares it: what is in the file, not how it is compressed.
    pub(super) fn keep(&self, is_check: bool) -> anyhow::Result<()> {
        if !self.assembler.is_shipped {
            return Ok(());
        }
        let path = folder().join(self.file() + ".gz");
        let name = name_of(&path);
        if unpacked(&path).is_ok_and(|before| before == self.cubin) {
            eprintln!("{name}: as it was");
            return Ok(());
        }
        if is_check {
            bail!("{name} is not what its PTX gives: run cargo xtask kernels");
        }
        let packed = packed(&self.cubin)?;
        eprintln!("{name}: written, {} bytes of {}", packed.len(), self.cubin.len());
        fs::write(&path, packed).with_context(|| path.display().to_string())
    }
}

/// Every module by every assembler for every device that it must take.
pub(super) fn assemble() -> anyhow::Result<Vec<Assembled>> {
    let mut all = Vec::new();
    for assembler in &ASSEMBLERS {
        let ptxas = assembler.tool.get()?;
        for (module, device) in assembler.devices {
            let assembled = run(&ptxas, assembler, module, *device)?;
            eprintln!("{}: {} kernels", assembled.name(), assembled.usages.len());
            all.push(assembled);
        }
    }
    Ok(all)
}

fn run(
    ptxas: &Path,
    assembler: &'static Assembler,
    module: &'static str,
    device: u32,
) -> anyhow::Result<Assembled> {
    let out = std::env::temp_dir().join(format!("gimbal-{}-sm{device}.cubin", std::process::id()));
    let mut command = Command::new(ptxas);
    command.args(["-v", &format!("-arch=sm_{device}"), "-o"]).arg(&out);
    command.arg(folder().join(format!("{module}.ptx")));
    let output = command.output().with_context(|| ptxas.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("ptxas {} refuses {module}.ptx for sm_{device}: {said}", assembler.version);
    }
    let cubin = fs::read(&out).with_context(|| out.display().to_string())?;
    fs::remove_file(&out).with_context(|| out.display().to_string())?;
    let usages = usage::parse(&said);
    if usages.is_empty() {
        bail!("ptxas {} names no kernel of {module}.ptx: {said}", assembler.version);
    }
    Ok(Assembled { device, assembler, module, usages, cubin })
}

/// Fails where all files together have become too large to be a part of the binary.
pub(super) fn check_size() -> anyhow::Result<()> {
    let mut bytes = 0;
    for path in files()? {
        bytes += fs::metadata(&path).with_context(|| path.display().to_string())?.len();
    }
    if bytes > PACKED_MAX {
        bail!("the cubins have {bytes} bytes, compressed; {PACKED_MAX} is the most");
    }
    Ok(())
}

/// Removes, or complains of, files of devices that are not assembled for any more.
pub(super) fn drop_others(all: &[Assembled], is_check: bool) -> anyhow::Result<()> {
    for path in files()? {
        let is_known = all
            .iter()
            .any(|one| one.assembler.is_shipped && path == folder().join(one.file() + ".gz"));
        match is_known {
            true => {}
            false if is_check => bail!("{} has no assembler", name_of(&path)),
            false => fs::remove_file(&path).with_context(|| path.display().to_string())?,
        }
    }
    Ok(())
}

fn files() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder()).with_context(|| folder().display().to_string())? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|ending| ending == "gz"));
    Ok(files)
}

fn packed(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn unpacked(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(&fs::read(path)?[..]).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As if it had been assembled.
#[cfg(test)]
pub(super) fn assembled(device: u32, usages: BTreeMap<String, Usage>) -> Assembled {
    Assembled { device, assembler: &ASSEMBLERS[0], module: "sm80", usages, cubin: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_cubins_are_small() {
        assert!(!files().expect("a folder").is_empty());
        check_size().expect("at most 4 MiB");
    }
}
