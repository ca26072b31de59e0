//! A C program against the header twin: what the bindings call signatures is what a C compiler calls them.
//! Next: `symbols.rs`.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use crate::module::{header, neff, twice};
use crate::process::{folder, library};

const PROGRAM: &str = include_str!("program.c");

#[test]
fn a_c_program_runs_a_model() {
    let folder = folder("c");
    let (source, binary, model) =
        (folder.join("program.c"), folder.join("program"), folder.join("twice.neff"));
    fs::write(&source, PROGRAM).expect("a file");
    fs::write(&model, neff(&header(), twice())).expect("a file");
    // The linker writes the soname down, by which the loader then asks.
    let soname = folder.join("libnrt.so.1");
    std::os::unix::fs::symlink(library(), &soname).expect("a link");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"]);
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../backends/neuron-sys/tests");
    let built = compiler.arg(twin).arg(&source).arg(&soname).arg("-o").arg(&binary).output();
    let built = built.expect("cc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut program = Command::new(&binary);
    program.arg(&model).env("LD_LIBRARY_PATH", &folder).env_remove("GIMBAL_TEST_NRT");
    let ran = program.output().expect("it was built");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "x 4 0 10\ny 4 1 10\n42\n");
    assert!(stderr.contains("closed: 0 leaks, 0 misuses"), "{stderr}");
    fs::remove_dir_all(&folder).expect("ours");
}
