//! `cargo xtask drivers`: NVIDIA's own libraries of the oldest drivers we serve with, from Debian.
//!
//! With `GIMBAL_TEST_BINARY` that binary looks for devices with each, too.
//!
//! Each must export every function in `backends/cuda/src/entry_points.txt`, and answer on a machine
//! without a GPU as our probe expects. Nothing of theirs is shipped (their licence is not free), and no
//! kernel is run: their compiler of PTX is another library, loaded with the first module.
//! Next: `elf`, which reads what a library exports, and `apt`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use crate::{apt, assets, command, elf, root};

const LIST: &str = "backends/cuda/src/entry_points.txt";
/// Where the kernel module tells of itself.
const MODULE: &str = "/proc/driver/nvidia/version";
/// The suites that the packages below are in.
const SUITES: [&str; 2] = ["bookworm", "trixie"];
const COMPONENT: &str = "non-free";

/// What is answered without a device: `CUDA_ERROR_NO_DEVICE` of `cuInit`, so `CUDA_ERROR_NOT_INITIALIZED`
/// of all that follows, and `NVML_ERROR_DRIVER_NOT_LOADED`, so `NVML_ERROR_UNINITIALIZED`.
const CUDA_CODES: [i32; 2] = [100, 3];
const NVML_CODES: [i32; 2] = [9, 1];

/// Names a binary that looks for devices.
const BINARY: &str = "GIMBAL_TEST_BINARY";
/// What it says where there is none.
const NO_DEVICE: [&str; 2] = ["\"Absent\"", "CUDA_ERROR_NO_DEVICE (100)"];

/// A branch of the driver, and what it says of itself.
struct Driver {
    branch: &'static str,
    /// The newest CUDA it knows, as `cuDriverGetVersion` has it.
    version: i32,
    cuda: Package,
    nvml: Package,
}

/// A package and the library in it.
struct Package {
    requirement: &'static str,
    sha256: &'static str,
    file: &'static str,
}

const DRIVERS: [Driver; 3] = [
    Driver {
        branch: "R470",
        version: 11040,
        cuda: Package {
            requirement: "libnvidia-tesla-470-cuda1=470.256.02-1~deb12u1",
            sha256: "0ef309cde7850f977b54e9914346a8a258fb716b474f76bb61539c239b492858",
            file: "tesla-470/libcuda.so.470.256.02",
        },
        nvml: Package {
            requirement: "libnvidia-tesla-470-ml1=470.256.02-1~deb12u1",
            sha256: "14b876d2da6fc2b3271c2170a4e69f9ce06b67d608016b7bc1c9119883dc95c2",
            file: "tesla-470/libnvidia-ml.so.470.256.02",
        },
    },
    Driver {
        branch: "R535",
        version: 12020,
        cuda: Package {
            requirement: "libnvidia-tesla-535-cuda1=535.216.03-3~deb12u1",
            sha256: "1875ce8ecad081a50e079ae3547c69a9e4368af85d993d8b30916b91801461c2",
            file: "tesla-535/libcuda.so.535.216.03",
        },
        nvml: Package {
            requirement: "libnvidia-tesla-535-ml1=535.216.03-3~deb12u1",
            sha256: "ede7503500786b4583852279517dc5f7548a6ad7158ed0fb84bfa9ab67cd9d58",
            file: "tesla-535/libnvidia-ml.so.535.216.03",
        },
    },
    Driver {
        branch: "R550",
        version: 12040,
        cuda: Package {
            requirement: "libcuda1=550.163.01-2",
            sha256: "8feff97aac61d6f27ded96a3c25b9e68025a680476e6072ff7eaf10623509135",
            file: "current/libcuda.so.550.163.01",
        },
        nvml: Package {
            requirement: "libnvidia-ml1=550.163.01-2",
            sha256: "01c1b67d511d7f52c6aa60e14ed56a8eb725d5dc85784a08214d6cb0f4fd1f89",
            file: "current/libnvidia-ml.so.550.163.01",
        },
    },
];

/// Runs the command, which takes nothing.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    ensure!(arguments.is_empty(), "drivers takes nothing, not {}", arguments.join(" "));
    ensure!(std::env::consts::ARCH == "x86_64", "the drivers are pinned for x86_64 only");
    fetch()?;
    let list = fs::read_to_string(root().join(LIST)).context(LIST)?;
    let (nvml, cuda): (Vec<_>, Vec<_>) = list.lines().partition(|name| name.starts_with("nvml"));
    println!(
        "| driver | libcuda | libnvidia-ml | CUDA | without a device |\n|---|---|---|---|---|"
    );
    let mut problems = Vec::new();
    for driver in &DRIVERS {
        let branch = driver.branch;
        let missing = [missing(&driver.cuda, &cuda)?, missing(&driver.nvml, &nvml)?];
        let [in_cuda, in_nvml] = missing.each_ref().map(Vec::len);
        let Codes { shown, problem } = driver.codes()?;
        let (of_cuda, of_nvml) = (cuda.len(), nvml.len());
        let counts =
            format!("{} of {of_cuda} | {} of {of_nvml}", of_cuda - in_cuda, of_nvml - in_nvml);
        println!("| {branch}, {} | {counts} | {shown} |", driver.cuda.version());
        let missing = missing.iter().flatten().map(|name| format!("{branch} exports no {name}"));
        problems.extend(missing);
        problems.extend(problem.map(|problem| format!("{branch}: {problem}")));
        problems.extend(driver.probed()?.map(|problem| format!("{branch}: {problem}")));
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// What a driver's libraries answered.
struct Codes {
    shown: String,
    problem: Option<String>,
}

impl Driver {
    /// Loads both in a process of their own.
    fn codes(&self) -> anyhow::Result<Codes> {
        if Path::new(MODULE).exists() {
            eprintln!("skip: {MODULE} is there, so {} finds another driver's device", self.branch);
            return Ok(Codes { shown: "– | –".to_owned(), problem: None });
        }
        let mut python = Command::new("python3");
        python.arg(root().join("tests/xtask/src/drivers/codes.py"));
        let said = command::output(python.arg(self.cuda.path()?).arg(self.nvml.path()?))?;
        self.judge(&said).with_context(|| format!("{}: the libraries answered {said}", self.branch))
    }

    /// What is wrong with what our binary says of it, where one is given.
    fn probed(&self) -> anyhow::Result<Option<String>> {
        let Some(binary) = std::env::var_os(BINARY) else { return Ok(None) };
        if Path::new(MODULE).exists() {
            return Ok(None);
        }
        let mut probe = Command::new(binary);
        probe.args(["probe", "--json", "--platform", "cuda", "--libcuda"]).arg(self.cuda.path()?);
        let output = probe.output().context(BINARY)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let is_reason = output.status.success() && NO_DEVICE.iter().all(|word| said.contains(word));
        let told = || String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((!is_reason).then(|| format!("gimbal probe: {}: {said}{}", output.status, told())))
    }

    /// Of two lines: the version and libcuda's codes, then NVML's.
    fn judge(&self, said: &str) -> anyhow::Result<Codes> {
        let numbers: Result<Vec<i32>, _> = said.split_whitespace().map(str::parse).collect();
        let numbers = numbers?;
        let [version, init, count, nvml_init, nvml_count] = numbers[..] else {
            bail!("not five numbers");
        };
        let shown = format!("{version} | cuInit {init}, nvmlInit_v2 {nvml_init}");
        let found = (version, [init, count], [nvml_init, nvml_count]);
        let expected = (self.version, CUDA_CODES, NVML_CODES);
        let problem = (found != expected).then(|| format!("{found:?}, not {expected:?}"));
        Ok(Codes { shown, problem })
    }
}

impl Package {
    fn version(&self) -> &'static str {
        let version = self.requirement.split_once('=').map_or("", |(_, version)| version);
        version.split('-').next().unwrap_or_default()
    }

    /// Its folder in the cache, by its hash: another pin is another folder.
    fn home(&self) -> anyhow::Result<PathBuf> {
        Ok(assets::cache()?.join(format!("driver-{}", &self.sha256[..16])))
    }

    fn path(&self) -> anyhow::Result<PathBuf> {
        Ok(self.home()?.join("usr/lib/x86_64-linux-gnu/nvidia").join(self.file))
    }
}

/// The names that a library does not export.
fn missing<'a>(package: &Package, names: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    let exports = elf::exports(&package.path()?)?;
    Ok(names.iter().copied().filter(|name| !exports.contains(*name)).collect())
}

/// Fetches what is not in the cache.
fn fetch() -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for package in DRIVERS.iter().flat_map(|driver| [&driver.cuda, &driver.nvml]) {
        if !package.path()?.is_file() {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let work = assets::cache()?.join(format!("drivers-{}.part", std::process::id()));
    eprintln!("fetching {} packages of NVIDIA's drivers, 11 MB at most", missing.len());
    let outcome = unpack(&work, &missing);
    // What is left of it is of no use; the outcome is what matters.
    drop(fs::remove_dir_all(&work));
    outcome
}

fn unpack(work: &Path, packages: &[&Package]) -> anyhow::Result<()> {
    let names: Vec<&str> = packages.iter().map(|package| package.requirement).collect();
    for file in apt::download(work, &SUITES, COMPONENT, &names)? {
        let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
        let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        let package = packages.iter().find(|package| package.sha256 == found);
        let package = package.with_context(|| {
            format!("{} has the SHA-256 {found}, which is not pinned", file.display())
        })?;
        let files = work.join(&found);
        apt::extract(&file, &files, &package.home()?)?;
    }
    for package in packages {
        let path = package.path()?;
        ensure!(path.is_file(), "{} has no {}", package.requirement, package.file);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_answers_are_problems() {
        let [driver, ..] = &DRIVERS;
        let problem = |said: &str| driver.judge(said).expect("numbers").problem.is_some();
        assert!(!problem("11040 100 3\n9 1\n"));
        for other in
            ["11050 100 3\n9 1", "11040 0 0\n9 1", "11040 100 3\n0 0", "11040 100 100\n9 1"]
        {
            assert!(problem(other), "{other}");
        }
        for none in ["", "11040 100 3", "11040 100 3 9 one"] {
            assert!(driver.judge(none).is_err(), "{none}");
        }
    }

    #[test]
    fn the_list_names_functions_in_order() {
        let list = fs::read_to_string(root().join(LIST)).expect("the list");
        let names: Vec<&str> = list.lines().collect();
        assert!(names.is_sorted_by(|a, b| a < b), "sorted, each once");
        let is_name = |name: &&str| name.starts_with("cu") || name.starts_with("nvml");
        assert!(names.iter().all(is_name), "{names:?}");
        assert!(names.len() > 80, "{}", names.len());
    }

    #[test]
    fn versions_are_told_without_the_packaging() {
        let versions = DRIVERS.each_ref().map(|driver| driver.cuda.version());
        assert_eq!(versions, ["470.256.02", "535.216.03", "550.163.01"]);
    }
}
