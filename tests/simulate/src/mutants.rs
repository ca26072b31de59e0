//! Breaks a copy of the scheduler in one way after the other and expects the tests to notice.
//!
//! The work tree is never touched: sources are copied to a scratch folder, each mutation of
//! `mutations` is applied there, built and tested. A mutation that survives is a rule nobody
//! holds. Next: `mutations.rs`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::mutations::{Mutation, all};

/// What the tests of the scheduler need, from the root of the workspace.
const CRATES: [&str; 6] = [
    "backends/batch",
    "backends/model",
    "backends/hal",
    "backends/sim",
    "scheduler",
    "tests/simulate",
];

/// Seeds per mutant: the rules are tested one by one as well.
const SEEDS: &str = "6000";

/// A mutant that takes longer than this does not end; that is noticed too.
const TEST_SECONDS_MAX: u64 = 120;

type Failure = Box<dyn std::error::Error>;

/// Runs all mutants, or those of these names.
///
/// # Errors
/// A mutant survived or does not build, a mutation does not apply, or the tools failed.
pub fn run_all(only: &[&str], out: &mut impl Write) -> Result<(), Failure> {
    if let Some(name) = only.iter().find(|name| all().all(|m| m.name != **name)) {
        return Err(format!("there is no mutant {name}").into());
    }
    let scratch = Scratch::new()?;
    if !scratch.build()? || !scratch.test()? {
        return Err("the scheduler fails its tests without any mutation".into());
    }
    let chosen = all().filter(|m| only.is_empty() || only.contains(&m.name));
    let (mut caught, mut survivors) = (0, Vec::new());
    for mutation in chosen {
        let source = scratch.root.join("scheduler/src").join(mutation.file);
        let original = fs::read_to_string(&source)?;
        fs::write(&source, mutation.apply(&original)?)?;
        let fate = match scratch.build()? {
            false => "NO BUILD",
            true if scratch.test()? => "SURVIVED",
            true => "caught",
        };
        fs::write(&source, original)?;
        writeln!(out, "{fate:8} {}", mutation.name)?;
        out.flush()?;
        caught += u32::from(fate == "caught");
        survivors.extend((fate != "caught").then_some(mutation.name));
    }
    writeln!(out, "{caught} mutants caught")?;
    if survivors.is_empty() {
        return Ok(());
    }
    Err(format!("not caught: {}", survivors.join(", ")).into())
}

impl Mutation {
    /// The source with the mutation.
    ///
    /// # Errors
    /// The text to replace does not stand there exactly once.
    pub fn apply(&self, source: &str) -> Result<String, Failure> {
        match source.matches(self.find).count() {
            1 => Ok(source.replacen(self.find, self.replace, 1)),
            count => Err(format!("{}: found {count} times in {}", self.name, self.file).into()),
        }
    }
}

/// The root of the workspace these sources belong to.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A copy of the sources; removed in the end.
struct Scratch {
    root: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let root = std::env::temp_dir().join(format!("gimbal-mutants-{}", std::process::id()));
        fs::create_dir_all(&root)?;
        let scratch = Self { root };
        for folder in CRATES {
            copy(&workspace().join(folder), &scratch.root.join(folder))?;
        }
        let manifest = fs::read_to_string(workspace().join("Cargo.toml"))?;
        let (before, members) = manifest.split_once("members = [").ok_or("no members")?;
        let (_, after) = members.split_once(']').ok_or("no end of members")?;
        let manifest = format!("{before}members = {CRATES:?}{after}");
        fs::write(scratch.root.join("Cargo.toml"), manifest)?;
        fs::copy(workspace().join("Cargo.lock"), scratch.root.join("Cargo.lock"))?;
        Ok(scratch)
    }

    fn build(&self) -> Result<bool, Failure> {
        Ok(self.cargo(&["--no-run"]).status()?.success())
    }

    /// True when all tests pass in time.
    fn test(&self) -> Result<bool, Failure> {
        let mut tests = self.cargo(&[]).spawn()?;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(TEST_SECONDS_MAX) {
            if let Some(status) = tests.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        end(&mut tests)?;
        Ok(false)
    }

    fn cargo(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(&self.root)
            .args(["test", "--offline", "--quiet", "--lib", "--tests"])
            .args(["-p", "gimbal-scheduler", "-p", "gimbal-simulate"])
            .args(more)
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .env("CARGO_PROFILE_TEST_OPT_LEVEL", "1")
            .env("RUST_BACKTRACE", "0")
            .env("GIMBAL_SEEDS", SEEDS)
            .env_remove("GIMBAL_SEED")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{} could not be removed: {error}", self.root.display());
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn end(tests: &mut Child) -> Result<(), Failure> {
    tests.kill()?;
    tests.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_applies_and_has_its_own_name() {
        let mut names: Vec<_> = all().map(|m| m.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all().count());
        for mutation in all() {
            let source = workspace().join("scheduler/src").join(mutation.file);
            let source = fs::read_to_string(source).expect("a file of the scheduler");
            let mutated = mutation.apply(&source).expect("the text stands there once");
            assert_ne!(mutated, source);
        }
    }
}
