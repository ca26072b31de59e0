//! `cargo xtask suites`: the server tests of llama.cpp, as they are, against the real binary. They
//! measure how much of llama-server's behaviour a program meets again here; nothing of them is kept in
//! the repository, and a failing one fails nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, process};

use anyhow::{Context, bail};

use crate::{assets, check, clients, command, root};

/// The source that holds them: llama.cpp's Python package, and its SHA-256.
const SOURCE: (&str, &str) = (
    "llama-cpp-python==0.3.36",
    "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
);
/// The folder of the tests in it.
const MEMBERS: &str = "/vendor/llama.cpp/tools/server/tests/";
const PORT: &str = "8094";
/// Seconds that a test may take.
const SECONDS_MAX: &str = "60";

/// Runs them; `arguments` are files of `unit` or flags of pytest.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let tests = fetch()?;
    let programs = clients::install("suites.txt", "what llama.cpp's server tests import")?;
    let binary = check::build_gimbal()?;
    let ours = root().join("tests/clients/suites").canonicalize()?;
    let mut pytest = Command::new(programs.join("python"));
    pytest.args(["-m", "pytest", "-p", "suite", "--quiet", "--tb=no", "--no-header", "-rN"]);
    pytest.args(["--timeout", SECONDS_MAX, "-m", "not slow", "-p", "no:cacheprovider"]);
    pytest.args(arguments).current_dir(&tests);
    pytest.env("PYTHONPATH", format!("{}:{}", ours.display(), tests.display()));
    pytest.env("LLAMA_SERVER_BIN_PATH", ours.join("llama_server.py")).env("PORT", PORT);
    pytest.env("GIMBAL", binary).env("GIMBAL_MODEL", assets.model);
    pytest.env("GIMBAL_ONNXRUNTIME", assets.runtime).env("PYTHONDONTWRITEBYTECODE", "1");
    let status = pytest.status().context("cannot start pytest")?;
    match status.code() {
        // 1: some failed, which is what is counted.
        Some(0 | 1) => Ok(()),
        _ => bail!("pytest: {status}"),
    }
}

/// The folder of the tests, fetched where it is missing.
fn fetch() -> anyhow::Result<PathBuf> {
    let (requirement, sha256) = SOURCE;
    let home = assets::cache()?.join(format!("suites-{}", &sha256[..16]));
    let tests = home.join("tests");
    if tests.is_dir() {
        return Ok(tests);
    }
    eprintln!("fetching the tests of {requirement}, 77 MB");
    let work = home.with_extension(format!("{}.part", process::id()));
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let fetched = download(requirement, sha256, &work);
    if fetched.is_ok() && !home.exists() {
        fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
        fs::rename(work.join("tests"), &tests).with_context(|| tests.display().to_string())?;
    }
    fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
    fetched?;
    Ok(tests)
}

/// Puts the tests into `work/tests`; pip checks the hash.
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
                      if path and member.isfile():\n        \
                          to = os.path.join(sys.argv[3], path)\n        \
                          os.makedirs(os.path.dirname(to), exist_ok=True)\n        \
                          open(to, 'wb').write(source.extractfile(member).read())";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(source).arg(MEMBERS).arg(work.join("tests"));
    command::run(&mut python)
}
