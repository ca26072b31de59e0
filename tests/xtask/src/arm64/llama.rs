//! llama.cpp's kernels for AArch64, compiled from the source that its Python package carries.
//!
//! Only the two files with kernels, as its own build compiles them for a core: GCC, -O3, -mcpu, kernels
//! of repacked weights switched on. Nothing of it is linked or run. Next: `count.rs` counts them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, process};

use anyhow::Context;

use super::{TOOLS, disassembly};
use crate::{apt, assets, command};

/// The source: llama.cpp's Python package, and its SHA-256.
const SOURCE: (&str, &str) = (
    "llama-cpp-python==0.3.36",
    "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
);
/// The folder in it that is taken.
const MEMBERS: &str = "/vendor/llama.cpp/ggml/";
/// The C++ compiler's package; the C compiler is there.
const PACKAGE: &str = "g++-aarch64-linux-gnu";
/// Files with kernels: name, compiler and its flag.
const FILES: [(&str, &str, &str); 2] =
    [("quants.c", "gcc", "-std=c11"), ("repack.cpp", "g++", "-std=c++17")];

/// The functions of both files, compiled for a core.
pub(super) fn functions(core: &str) -> anyhow::Result<Vec<disassembly::Function>> {
    let source = fetch()?;
    let compiler = format!("{TOOLS}-g++");
    if !command::succeeds(&compiler, &["--version"]) {
        eprintln!("installing {PACKAGE}");
        apt::install(&[PACKAGE]).context("a C++ compiler for Arm")?;
    }
    let mut all = Vec::new();
    for (file, compiler, standard) in FILES {
        let object = source.with_file_name(format!("{core}-{}-{file}.o", process::id()));
        let mut compile = Command::new(format!("{TOOLS}-{compiler}"));
        compile.args([standard, "-O3", "-DNDEBUG", "-D_GNU_SOURCE", "-DGGML_USE_CPU_REPACK"]);
        compile.args(["-fPIC", &format!("-mcpu={core}")]);
        for folder in ["include", "src", "src/ggml-cpu"] {
            compile.arg("-I").arg(source.join(folder));
        }
        compile.arg("-c").arg(source.join("src/ggml-cpu/arch/arm").join(file));
        command::run(compile.arg("-o").arg(&object))?;
        let mut objdump = Command::new(format!("{TOOLS}-objdump"));
        let text = command::output(objdump.args(["-d", "--no-show-raw-insn"]).arg(&object))?;
        fs::remove_file(&object).with_context(|| object.display().to_string())?;
        all.extend(disassembly::functions(&text));
    }
    Ok(all)
}

/// The version that is compared with.
pub(super) const fn version() -> &'static str {
    SOURCE.0
}

/// The folder `ggml` of the source, fetched where it is missing.
fn fetch() -> anyhow::Result<PathBuf> {
    let (requirement, sha256) = SOURCE;
    let home = assets::cache()?.join(format!("ggml-{}", &sha256[..16]));
    let source = home.join("ggml");
    if source.is_dir() {
        return Ok(source);
    }
    eprintln!("fetching the source of {requirement}, 77 MB");
    let work = home.with_extension(format!("{}.part", process::id()));
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let fetched = download(requirement, sha256, &work);
    if fetched.is_ok() && !home.exists() {
        fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
        // A rename is atomic: the folder is whole or not there.
        let made = work.join("ggml");
        fs::rename(made, &source).with_context(|| source.display().to_string())?;
    }
    fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
    fetched?;
    Ok(source)
}

/// Puts it into `work/ggml`; pip checks the hash.
fn download(requirement: &str, sha256: &str, work: &Path) -> anyhow::Result<()> {
    let (pins, sources) = (work.join("requirements.txt"), work.join("sources"));
    let line = format!("{requirement} --hash=sha256:{sha256}\n");
    fs::write(&pins, line).with_context(|| pins.display().to_string())?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--require-hashes", "--no-binary=llama-cpp-python", "--requirement"]).arg(&pins);
    command::run(pip.arg("--dest").arg(&sources))?;
    let source = fs::read_dir(&sources)?.next().context("pip downloaded nothing")??.path();
    let script = "import os, sys, tarfile\n\
                  for member in (source := tarfile.open(sys.argv[1])):\n    \
                      path = member.name.partition(sys.argv[2])[2]\n    \
                      if path.endswith(('.h', '.c', '.cpp')) and member.isfile():\n        \
                          to = os.path.join(sys.argv[3], path)\n        \
                          os.makedirs(os.path.dirname(to), exist_ok=True)\n        \
                          open(to, 'wb').write(source.extractfile(member).read())";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(source).arg(MEMBERS).arg(work.join("ggml"));
    command::run(&mut python)
}
