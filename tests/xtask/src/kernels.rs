//! `cargo xtask kernels`: the PTX of our CUDA kernels made anew, and what assemblers make of it.
//!
//! The compiler writes PTX 8.1 into the header; what the kernels use is in 7.4, so the header says that:
//! drivers from R470 on take it, and the assemblers below are the judges of it. With `--check` nothing is
//! written, and a byte of difference is an error. Next: `cubins`, what is assembled, `held`, how much of it
//! a multiprocessor holds, `families` and `roofline`, what kernels move and compute, `tools`, where the
//! compilers come from, and `mutants`.

mod cubins;
mod families;
mod held;
pub(crate) mod mutants;
mod occupancy;
mod roofline;
mod step;
mod tools;
mod usage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::{command, root};
use cubins::Assembled;
use tools::NVRTC;

const CRATE: &str = "backends/cuda";
const DOCUMENT: &str = "docs/backends/cuda.md";
/// The table stands between these lines of the document.
const MARKS: [&str; 2] = ["<!-- table: cargo xtask kernels -->\n", "<!-- end -->\n"];
/// Modules, and the compute capability that each is compiled for.
const MODULES: [(&str, u32); 2] = [("sm75", 75), ("sm80", 80)];
/// What the header says: PTX ISA 7.4, of CUDA 11.4.
const VERSION: &str = "7.4";

/// Runs the command: `[--check]`.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let is_check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        other => bail!("kernels takes --check or nothing, not {}", other.join(" ")),
    };
    let nvrtc = NVRTC.get()?;
    let mut manifest =
        format!("# Made by `cargo xtask kernels`.\ncompiler = {:?}\n", NVRTC.requirement());
    writeln!(manifest, "\n[sources]")?;
    for source in sources()? {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        writeln!(manifest, "{name:?} = \"{}\"", hash(&fs::read(&source)?))?;
    }
    writeln!(manifest, "\n[ptx]")?;
    let mut threads = BTreeMap::new();
    for (name, capability) in MODULES {
        let ptx = compile(&nvrtc, capability)?;
        threads.extend(usage::threads(&ptx));
        writeln!(manifest, "\"{name}.ptx\" = \"{}\"", hash(ptx.as_bytes()))?;
        keep(&folder().join(format!("{name}.ptx")), &ptx, is_check)?;
    }
    let all = cubins::assemble()?;
    refuse_spills(&all)?;
    let held = held::find(&all, &threads)?;
    held::check(&held)?;
    for one in &all {
        one.keep(is_check)?;
        manifest += &one.section();
    }
    cubins::drop_others(&all, is_check)?;
    cubins::check_size()?;
    keep(&folder().join("MANIFEST.toml"), &manifest, is_check)?;
    let document = root().join(DOCUMENT);
    let text = fs::read_to_string(&document).with_context(|| DOCUMENT.to_owned())?;
    let tables = [held::table(&held), roofline::table()?, step::table()?].join("\n");
    keep(&document, &with_text(&text, &tables)?, is_check)
}

/// What is committed of the compilers' work.
fn folder() -> PathBuf {
    root().join(CRATE).join("ptx")
}

/// For people: from the repository's folder on.
fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn sources() -> anyhow::Result<Vec<PathBuf>> {
    let folder = root().join(CRATE).join("kernels");
    let mut sources = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        sources.push(entry?.path());
    }
    sources.sort();
    Ok(sources)
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn compile(nvrtc: &Path, capability: u32) -> anyhow::Result<String> {
    compile_folder(nvrtc, &root().join(CRATE).join("kernels"), capability)
}

/// The module, with our header and without the compiler's own variables, which nothing reads.
fn compile_folder(nvrtc: &Path, folder: &Path, capability: u32) -> anyhow::Result<String> {
    let mut python = Command::new("python3");
    python.arg(root().join("tests/xtask/src/kernels/nvrtc.py")).arg(nvrtc);
    python.arg(folder).arg(capability.to_string());
    let ptx = command::output(&mut python)?;
    let own = |line: &&str| !(line.starts_with(".global ") && line.contains("2nv6target"));
    let lines = ptx.lines().filter(own).map(|line| match line.starts_with(".version ") {
        true => format!(".version {VERSION}\n"),
        false => format!("{line}\n"),
    });
    Ok(lines.collect())
}

/// Writes a file, or compares it.
fn keep(path: &Path, text: &str, is_check: bool) -> anyhow::Result<()> {
    let name = name_of(path);
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        eprintln!("{name}: as it was");
        return Ok(());
    }
    if is_check {
        bail!("{name} is not what its sources give: run cargo xtask kernels");
    }
    eprintln!("{name}: written");
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Fails where a kernel writes registers to memory.
fn refuse_spills(all: &[Assembled]) -> anyhow::Result<()> {
    for one in all {
        if let Some((kernel, usage)) = one.usages.iter().find(|(_, usage)| usage.spilled > 0) {
            bail!("{kernel} for {} spills {} bytes of registers", one.name(), usage.spilled);
        }
    }
    Ok(())
}

/// The document with new text between the marks.
fn with_text(document: &str, text: &str) -> anyhow::Result<String> {
    let missing = || format!("{DOCUMENT} has no lines {MARKS:?}");
    let (before, rest) = document.split_once(MARKS[0]).with_context(missing)?;
    let (_, after) = rest.split_once(MARKS[1]).with_context(missing)?;
    Ok(format!("{before}{}{text}{}{after}", MARKS[0], MARKS[1]))
}
