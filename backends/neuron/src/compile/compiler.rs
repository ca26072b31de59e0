//! AWS's neuronx-cc: where it is, which one, and what it is told.
//!
//! It comes from AWS's own package index only, with some gigabytes of Python, and runs anywhere: no device is needed.
//! Next: `weights.rs`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::{CompileError, Plan, name};
use crate::bundle::Compiler;
use crate::lower::Program;
use crate::neff;
use crate::probe::Chip;

/// Its name.
const PROGRAM: &str = "neuronx-cc";
/// Where AWS's images for deep learning have it: not on the PATH.
///
/// **Source**: AWS's notes on DLAMIs of Neuron 2.21 and 2.33.
const ENVIRONMENTS: (&str, &str) = ("/opt", "aws_neuronx_venv_");
/// Compilers that are known, by the beginning of their version: SDK, and major and minor of its runtime.
///
/// **Source**: release notes of the SDK, table of components.
const KNOWN: [(&str, &str, [u64; 2]); 1] = [("2.28.", "2.33.0", [2, 35])];

/// The compiler.
#[derive(Clone, Debug)]
pub struct NeuronxCc {
    path: PathBuf,
    /// Its version, as it tells it.
    pub version: String,
    sdk: String,
    runtime: [u64; 2],
}

impl NeuronxCc {
    /// The one at a path, else the first of the folders in `search` (PATH), else that of AWS's images below `root`.
    ///
    /// # Errors
    /// There is none, or it does not tell its version.
    pub fn find(
        set: Option<&Path>,
        search: Option<&OsStr>,
        root: &Path,
    ) -> Result<Self, CompileError> {
        let found = match set {
            Some(path) => Some(path.to_owned()),
            None => on_path(search).or_else(|| in_images(root)),
        };
        let path = found.ok_or_else(|| {
            CompileError::Compiler(format!(
                "{PROGRAM} is neither on the PATH nor in {}/{}*/bin: start an AWS Deep Learning AMI for \
                 Neuron, or install it (pip install neuronx-cc from AWS's index) and name it with \
                 --neuronx-cc",
                ENVIRONMENTS.0, ENVIRONMENTS.1
            ))
        })?;
        let said = |why: &dyn std::fmt::Display| {
            CompileError::Compiler(format!("{} --version: {why}", path.display()))
        };
        let output = Command::new(&path).arg("--version").output().map_err(|why| said(&why))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = text.split_whitespace();
        let version = words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let Some(version) = version.filter(|_| output.status.success()) else {
            return Err(said(&format!("{}: {}", output.status, text.trim())));
        };
        let known = KNOWN.iter().find(|(beginning, ..)| version.starts_with(beginning));
        let (sdk, runtime) = match known {
            Some((_, sdk, runtime)) => ((*sdk).to_owned(), *runtime),
            // Which runtime it needs is not known: any of the major version is tried.
            None => (format!("of neuronx-cc {version}"), [2, 0]),
        };
        Ok(Self { version: version.to_owned(), path, sdk, runtime })
    }

    /// As a manifest names it.
    pub(super) fn named(&self, plan: &Plan) -> Compiler {
        Compiler {
            version: self.version.clone(),
            flags: flags((plan.target, plan.lnc)),
            sdk: self.sdk.clone(),
            runtime: self.runtime,
        }
    }

    /// A program's NEFF: the file, and whether it was compiled just now.
    pub(super) fn compile(
        &self,
        program: &Program,
        plan: &Plan,
        cache: &Path,
    ) -> Result<(PathBuf, bool), CompileError> {
        let level = level(program);
        let (name, module) = (name(program.wants.bucket), program.module.write());
        self.kept(&name, &module, ((plan.target, plan.lnc), level), cache)
    }

    /// The NEFF of a module of no model, for logical cores of so many.
    pub(crate) fn module(
        &self,
        name: &str,
        module: &[u8],
        target: (Chip, u32),
        cache: &Path,
    ) -> Result<(PathBuf, bool), CompileError> {
        self.kept(name, module, (target, "-O1"), cache)
    }

    /// What was compiled of the same module before, or now.
    fn kept(
        &self,
        name: &str,
        module: &[u8],
        (target, level): ((Chip, u32), &str),
        cache: &Path,
    ) -> Result<(PathBuf, bool), CompileError> {
        let mut flags = flags(target);
        flags.push(level.to_owned());
        let mut hash = Sha256::new();
        // Lengths, so that no two lists of parts are the same bytes.
        for part in [module, self.version.as_bytes(), flags.join(" ").as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let key: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let neff = cache.join(format!("{key}.neff"));
        // One that was cut off or changed is compiled again.
        let is_whole = |path: &Path| {
            let bytes = fs::read(path);
            bytes.is_ok_and(|bytes| neff::verify(&path.display().to_string(), &bytes).is_ok())
        };
        if is_whole(&neff) {
            return Ok((neff, false));
        }
        let file = |file: &Path, source| CompileError::File { file: file.to_owned(), source };
        let work = cache.join(format!("{key}.part-{}", std::process::id()));
        fs::create_dir_all(&work).map_err(|source| file(&work, source))?;
        let made = self.run(&work, module, &flags, name);
        let kept = made.and_then(|made| {
            if !is_whole(&made) {
                let why = "it wrote no NEFF that a runtime of today can load".to_owned();
                return Err(CompileError::Refused { bucket: name.to_owned(), why });
            }
            fs::rename(&made, &neff).map_err(|source| file(&neff, source))
        });
        // What it leaves beside its result may be gigabytes.
        drop(fs::remove_dir_all(&work));
        kept.map(|()| (neff, true))
    }

    /// Runs it in a folder of its own; the file that it wrote.
    fn run(
        &self,
        work: &Path,
        module: &[u8],
        flags: &[String],
        bucket: &str,
    ) -> Result<PathBuf, CompileError> {
        let (input, output) = (work.join("module.hlo.pb"), work.join("module.neff"));
        let file = |source| CompileError::File { file: input.clone(), source };
        fs::write(&input, module).map_err(file)?;
        let mut command = Command::new(&self.path);
        command.current_dir(work).arg("compile").arg(&input).args(flags);
        let told = command.arg("--output").arg(&output).output();
        let told = told.map_err(|why| {
            CompileError::Compiler(format!("{} does not start: {why}", self.path.display()))
        })?;
        if told.status.success() {
            return Ok(output);
        }
        let text = String::from_utf8_lossy(&told.stderr) + String::from_utf8_lossy(&told.stdout);
        // The last lines say what is wrong.
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(12)..].join("\n");
        let hint = match told.status.code() {
            // It was ended by a signal.
            None => {
                " (as the kernel does where memory is short: give the machine more, or lower --jobs)"
            }
            Some(_) => "",
        };
        Err(CompileError::Refused {
            bucket: bucket.to_owned(),
            why: format!("{}{hint}: {last}", told.status),
        })
    }
}

/// How much time it takes: more for programs of single rows, which run for every token. Its bucket says which one a
/// program was given.
///
/// **Source**: flags of neuronx-distributed-inference.
const fn level(program: &Program) -> &'static str {
    if program.wants.bucket.rows_each == 1 { "-O2" } else { "-O1" }
}

/// What it is told beside files, of every program.
///
/// **Source**: AWS Neuron, `neuronx-cc` reference.
fn flags((target, lnc): (Chip, u32)) -> Vec<String> {
    let words = [
        "--framework",
        "XLA",
        "--target",
        target.name(),
        "--model-type",
        "transformer",
        "--auto-cast",
        "none",
        "--lnc",
    ];
    words.into_iter().map(str::to_owned).chain([lnc.to_string()]).collect()
}

fn on_path(search: Option<&OsStr>) -> Option<PathBuf> {
    let folders = std::env::split_paths(search?);
    folders.map(|folder| folder.join(PROGRAM)).find(|path| path.is_file())
}

/// The newest of AWS's environments, by name.
fn in_images(root: &Path) -> Option<PathBuf> {
    let (folder, beginning) = ENVIRONMENTS;
    let entries = fs::read_dir(root.join(folder.trim_start_matches('/'))).ok()?;
    let named = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(beginning)));
    let mut found: Vec<PathBuf> = named
        .map(|entry| entry.path().join("bin").join(PROGRAM))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found.pop()
}
