//! `cargo xtask mutants cuda`: deliberate faults in the kernels, each compiled and given to its tests, which
//! must fail. The list says what each is; those that no test can see are marked there, with the reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{CRATE, compile_folder};
use crate::kernels::tools::NVRTC;
use crate::{command, root};

const LIST: &str = "backends/cuda/tests/mutants.txt";
/// Faults that each kernel has at least.
const LEAST: usize = 6;
/// Seconds after which tests of a fault count as failed: its kernel may run for ever.
const SECONDS_MAX: &str = "120";

/// A fault.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mutant {
    file: String,
    kernel: String,
    filter: String,
    /// Which of several places, from 1; 0 where there is one.
    at: usize,
    before: String,
    after: String,
    /// Why no test can see it.
    equal: Option<String>,
}

impl Mutant {
    /// Its file as it is.
    fn source(&self) -> anyhow::Result<String> {
        let path = root().join(CRATE).join("kernels").join(&self.file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// The source with the fault.
    fn apply(&self, source: &str) -> anyhow::Result<String> {
        let places: Vec<usize> = source.match_indices(&self.before).map(|(at, _)| at).collect();
        let found = match (self.at, &places[..]) {
            (0, [one]) => *one,
            (0, _) => bail!("{} places of {:?} in {}", places.len(), self.before, self.file),
            (at, _) => *places.get(at - 1).with_context(|| {
                format!("{} places of {:?} in {}, not {at}", places.len(), self.before, self.file)
            })?,
        };
        let (start, rest) = source.split_at(found);
        Ok(format!("{start}{}{}", self.after, &rest[self.before.len()..]))
    }
}

/// Runs those whose kernel has a name among `names`, or all.
pub(crate) fn run(names: &[String]) -> anyhow::Result<()> {
    let text = fs::read_to_string(root().join(LIST)).context(LIST)?;
    let all = parse(&text)?;
    check_counts(&all)?;
    let chosen: Vec<&Mutant> =
        all.iter().filter(|m| names.is_empty() || names.contains(&m.kernel)).collect();
    ensure!(!chosen.is_empty(), "no kernel of the list is named {}", names.join(" "));
    // Before hours go by: each has its place in today's sources.
    for mutant in &chosen {
        mutant.apply(&mutant.source()?)?;
    }
    let (nvrtc, tests) = (NVRTC.get()?, tests()?);
    let work = tests.with_extension("mutants");
    let (mut caught, mut wrong) = (0, Vec::new());
    for (i, mutant) in chosen.iter().enumerate() {
        let is_caught = is_caught(mutant, &nvrtc, &tests, &work)?;
        caught += usize::from(is_caught);
        let told = format!(
            "{} ({}): {:?} for {:?}",
            mutant.kernel, mutant.file, mutant.after, mutant.before
        );
        let what = if is_caught { "caught" } else { "not seen" };
        eprintln!("{} of {}: {what}: {told}", i + 1, chosen.len());
        if is_caught != mutant.equal.is_none() {
            wrong.push(told);
        }
    }
    fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
    eprintln!(
        "{caught} of {} caught, {} as the list says",
        chosen.len(),
        chosen.len() - wrong.len()
    );
    ensure!(wrong.is_empty(), "not as the list says:\n{}", wrong.join("\n"));
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<Vec<Mutant>> {
    let mut all: Vec<Mutant> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (mark, rest) = line.split_at_checked(2).unwrap_or((line, ""));
        let last = all.last_mut();
        match (mark, last) {
            ("< ", Some(mutant)) => mutant.before = rest.replace("\\n", "\n"),
            ("> " | ">", Some(mutant)) => mutant.after = rest.replace("\\n", "\n"),
            ("= ", Some(mutant)) => {
                let reason = mutant.equal.get_or_insert_default();
                *reason = format!("{reason} {rest}").trim_start().to_owned();
            }
            _ => {
                let words: Vec<&str> = line.split(' ').collect();
                let (at, [file, kernel, filter]) = match words[..] {
                    [file, kernel, filter] => (0, [file, kernel, filter]),
                    [file, kernel, filter, "at", at] => {
                        (at.parse().with_context(|| line.to_owned())?, [file, kernel, filter])
                    }
                    _ => bail!("{LIST}: {line}"),
                };
                let [file, kernel, filter] = [file, kernel, filter].map(str::to_owned);
                all.push(Mutant { file, kernel, filter, at, ..Mutant::default() });
            }
        }
    }
    Ok(all)
}

fn check_counts(all: &[Mutant]) -> anyhow::Result<()> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for mutant in all {
        *counts.entry(&mutant.kernel).or_default() += 1;
    }
    for (kernel, count) in counts {
        ensure!(count >= LEAST, "{kernel} has {count} faults in {LIST}, of {LEAST} at least");
    }
    Ok(())
}

/// The test program, built.
fn tests() -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root()).args(["test", "--release", "--package", "gimbal-cuda"]);
    cargo.args(["--test", "kernels", "--no-run", "--message-format", "json"]);
    let said = command::output(&mut cargo)?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == "kernels");
    let program = programs.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.context("cargo names no test program")
}

/// Whether tests fail with the fault.
fn is_caught(mutant: &Mutant, nvrtc: &Path, tests: &Path, work: &Path) -> anyhow::Result<bool> {
    let sources = work.join("kernels");
    fs::create_dir_all(&sources).with_context(|| sources.display().to_string())?;
    for source in super::sources()? {
        let name = source.file_name().unwrap_or_default();
        fs::copy(&source, sources.join(name)).with_context(|| source.display().to_string())?;
    }
    fs::write(sources.join(&mutant.file), mutant.apply(&mutant.source()?)?)?;
    let ptx = work.join("sm80.ptx");
    fs::write(&ptx, compile_folder(nvrtc, &sources, 80)?)?;
    let mut program = Command::new("timeout");
    program.arg(SECONDS_MAX).arg(tests).arg(&mutant.filter).env("GIMBAL_TEST_PTX_80", &ptx);
    let output = program.output().context("cannot start the tests")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(!said.contains("running 0 tests"), "no test is named {}", mutant.filter);
    Ok(!output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_put_in_their_place() {
        let text = "# a list\n\na.cu k rows:: at 2\n< x + 1\n> x\n\na.cu k rows::\n< y;\\n\n>\n= nobody\n= cares\n";
        let all = parse(text).expect("a list");
        assert_eq!(all[0].apply("x + 1; x + 1;").expect("two places"), "x + 1; x;");
        assert!(all[0].apply("x + 1").is_err());
        assert_eq!(all[1].apply("a; y;\nb;").expect("one place"), "a; b;");
        assert!(all[1].apply("y;\ny;\n").is_err());
        assert_eq!(all[1].equal.as_deref(), Some("nobody cares"));
        assert!(check_counts(&all).is_err());
    }
}
