//! Shape of the sources: size, first lines, words that must not appear.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest file; aim for 400.
const LINES_MAX: usize = 500;
/// Longest line of code; comments may hold an address or a table.
const COLUMNS_MAX: usize = 100;
/// Names that say nothing about what a file holds.
const EMPTY_NAMES: [&str; 5] = ["utils", "helpers", "common", "misc", "manager"];
/// Folders in which code may depend on the processor or a device.
const DEVICES: [&str; 5] =
    ["backends/cpu", "backends/onnx", "backends/cuda", "backends/neuron", "tests/emulators"];

/// All files git knows or would add, relative to the root.
pub(super) fn files(extension: &str) -> Vec<(PathBuf, String)> {
    let output = Command::new("git")
        .current_dir(super::root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .expect("git can be started");
    assert!(output.status.success(), "git ls-files");
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_kind = |name: &&str| Path::new(name).extension().is_some_and(|e| e == extension);
    let read = |name: &str| {
        // A file that was just removed is still listed.
        fs::read_to_string(super::root().join(name)).ok().map(|text| (PathBuf::from(name), text))
    };
    let found: Vec<_> = names.lines().filter(of_kind).filter_map(read).collect();
    assert!(!found.is_empty(), "there are .{extension} files");
    found
}

pub(super) fn complain(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut problems = Vec::new();
    for (path, text) in files("rs") {
        let (shown, lines) = (path.display(), text.lines().count());
        if lines > LINES_MAX {
            problems.push(format!("{shown}: {lines} lines, {LINES_MAX} at most"));
        }
        if !text.starts_with("//!") {
            problems.push(format!("{shown}: does not begin with //!"));
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if EMPTY_NAMES.contains(&stem.as_ref()) {
            problems.push(format!("{shown}: the name says nothing"));
        }
        for (i, line) in text.lines().enumerate() {
            let is_prose = line.trim_start().starts_with("//");
            if line.chars().count() > COLUMNS_MAX && !is_prose && !line.contains('"') {
                problems.push(format!("{shown}:{}: longer than {COLUMNS_MAX}", i + 1));
            }
        }
    }
    complain(&problems);
}

#[test]
fn devices_are_known_below_the_hal_only() {
    let mut problems = Vec::new();
    // Put together here so that this file does not find itself.
    let marks = [["cfg(", "target"].concat(), ["cfg(", "feature"].concat()];
    for (path, text) in files("rs") {
        let below = DEVICES.iter().any(|d| path.starts_with(d)) || path.starts_with("tests/xtask");
        for (i, line) in text.lines().enumerate() {
            if !below && marks.iter().any(|mark| line.contains(mark.as_str())) {
                problems.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
            }
        }
    }
    complain(&problems);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut problems = Vec::new();
    let marks = [["to", "do!("], ["unimpl", "emented!("], ["#[ig", "nore"]].map(|m| m.concat());
    for (path, text) in files("rs") {
        for (i, line) in text.lines().enumerate() {
            let is_doc = line.trim_start().starts_with("//!");
            if !is_doc && marks.iter().any(|mark| line.contains(mark.as_str())) {
                problems.push(format!("{}:{}: {}", path.display(), i + 1, line.trim()));
            }
        }
    }
    complain(&problems);
}

/// The fields of a line that nobody wants are never computed: nothing may be done in them.
#[test]
fn log_lines_only_say() {
    let levels = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];
    let mut problems = Vec::new();
    for (path, text) in files("rs") {
        for (i, line) in text.lines().enumerate() {
            let is_log = levels.iter().any(|level| line.trim_start().starts_with(level));
            if is_log && line.contains(".await") {
                problems.push(format!("{}:{}: waits in a log line", path.display(), i + 1));
            }
        }
    }
    complain(&problems);
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    for (path, text) in files("rs") {
        let count = |mark: &str| text.lines().filter(|l| l.contains(mark)).count();
        let blocks = count(&["unsafe", " {"].concat()) + count(&["unsafe", " impl"].concat());
        let reasons = count("// SAFETY:");
        assert!(reasons >= blocks, "{}: {blocks} blocks, {reasons} reasons", path.display());
    }
}
