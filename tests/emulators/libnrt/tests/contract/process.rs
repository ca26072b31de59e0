//! A test in a process of its own: the script is set by the environment, and a runtime that was closed is closed for
//! the whole process. Next: `module.rs`.

use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::{env, fs};

/// Which test a process runs, and with which script.
const TEST: &str = "GIMBAL_TEST_NRT_PROCESS";
/// What such a process says.
const RAN: &str = "the test's body has run";

/// What a process left.
pub(crate) struct Told {
    /// On stderr.
    pub(crate) stderr: String,
    /// In the report of `nrt_close`; empty if that was not called.
    pub(crate) report: String,
}

/// The library that cargo built beside this test.
pub(crate) fn library() -> PathBuf {
    let tests = env::current_exe().expect("a path");
    let library = tests.parent().expect("a folder").join("libgimbal_libnrt.so");
    assert!(library.is_file(), "{} is not built", library.display());
    library
}

/// A folder of its own.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("{}-{}", name.replace("::", "-"), id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// This is the process of a test's body.
pub(crate) fn is_within() -> bool {
    env::var_os(TEST).is_some()
}

/// Runs a test's body with a script; in that process itself it tells nothing.
pub(crate) fn on(script: &str, test: &str, body: fn()) -> Option<Told> {
    with(script, &[], test, body)
}

/// The same with more variables of the environment.
pub(crate) fn with(
    script: &str,
    variables: &[(&str, &str)],
    test: &str,
    body: fn(),
) -> Option<Told> {
    let key = format!("{test} on {script} with {variables:?}");
    if let Ok(own) = env::var(TEST) {
        if own == key {
            body();
            eprintln!("{RAN}");
        }
        return None;
    }
    let folder = folder(test);
    let file = folder.join("script.toml");
    fs::write(&file, format!("report = \"report\"\n{script}")).expect("a file");
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.args(["--exact", test, "--nocapture"]).env(TEST, key);
    command.env("GIMBAL_TEST_NRT", &file).envs(variables.iter().copied());
    let output = command.output().expect("a process");
    let reports = fs::read_dir(&folder).expect("ours").filter_map(|entry| {
        let path = entry.ok()?.path();
        let is_report = path.file_name()?.to_str()?.starts_with("report.");
        is_report.then(|| fs::read_to_string(path).expect("text"))
    });
    let report = reports.collect();
    fs::remove_dir_all(&folder).expect("ours");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{script}\n{stdout}\n{stderr}");
    // A name that no test has would pass, too.
    assert!(stderr.contains(RAN), "{test} on {script} was not run: {stdout}");
    Some(Told { stderr, report })
}

/// Nothing was left and nothing misused.
#[track_caller]
pub(crate) fn assert_clean(told: Option<Told>) {
    if let Some(told) = told {
        let is_clean = told.report.starts_with("closed: 0 leaks, 0 misuses\n");
        assert!(is_clean, "{}: {}", told.report, told.stderr);
    }
}
