//! A test in a process of its own: the machine is set by the environment, and a context that has ended is
//! over for the whole process.

use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::{env, fs};

use cudarc::driver::{CudaContext, DriverError, sys};

/// Which test a process runs, and on which machine.
const TEST: &str = "GIMBAL_TEST_CUDA_PROCESS";
/// What such a process says.
const RAN: &str = "the test's body has run";

/// The library that cargo built beside this test.
pub(crate) fn library() -> PathBuf {
    let tests = env::current_exe().expect("a path");
    let library = tests.parent().expect("a folder").join("libgimbal_libcuda.so");
    assert!(library.is_file(), "{} is not built", library.display());
    library
}

/// Runs a test's body on a machine, given in TOML, as a program that finds the emulator where NVIDIA's
/// library would be. Returns what it said on stderr; in such a process, nothing.
pub(crate) fn on(machine: &str, test: &str, body: fn()) -> Option<String> {
    let key = format!("{test} on {machine}");
    if let Ok(own) = env::var(TEST) {
        if own == key {
            body();
            eprintln!("{RAN}");
        }
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.join(format!("{}-{}", test.replace("::", "-"), id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("machine.toml");
    fs::write(&file, machine).expect("a file");
    // The first name that cudarc asks for, so that no real driver comes before.
    let _ = fs::remove_file(folder.join("libcuda.so"));
    std::os::unix::fs::symlink(library(), folder.join("libcuda.so")).expect("a link");
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.args(["--exact", test, "--nocapture"]).env(TEST, key);
    command.env("GIMBAL_TEST_CUDA", &file).env("LD_LIBRARY_PATH", &folder);
    let output = command.output().expect("a process");
    fs::remove_dir_all(&folder).expect("ours");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{machine}\n{stdout}\n{stderr}");
    // A name that no test has would pass, too.
    assert!(stderr.contains(RAN), "{test} on {machine} was not run: {stdout}");
    Some(stderr)
}

/// The same on two machines of two devices, whose streams go on first to last and last to first.
pub(crate) fn in_both_orders(test: &str, body: fn()) {
    for order in ["first", "last"] {
        let _told = on(&format!("devices = 2\norder = \"{order}\""), test, body);
    }
}

/// The code of a call that must fail.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "as calls return it")]
pub(crate) fn code<T>(outcome: Result<T, DriverError>) -> sys::CUresult {
    match outcome {
        Ok(_) => panic!("it does not fail"),
        Err(DriverError(code)) => code,
    }
}

/// The first device's context, without the events by which cudarc orders streams of itself.
pub(crate) fn context() -> std::sync::Arc<CudaContext> {
    let context = CudaContext::new(0).expect("a device");
    assert!(context.name().expect("a name").starts_with("EMULATED "), "this is a real device");
    // SAFETY: what tests do with slices they order themselves.
    unsafe { context.disable_event_tracking() };
    context
}
