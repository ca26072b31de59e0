//! The emulator exports what the CUDA backend may call, and next to nothing else: so what runs on it runs
//! on every driver that `cargo xtask drivers` has looked at. Next: `driver`, which calls them.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use libloading::Library;

const LIST: &str = include_str!("../../../../backends/cuda/src/entry_points.txt");
/// What the drivers looked at do not all have: R550 has no `cuEventElapsedTime_v2`, R470 no
/// `cuGetProcAddress_v2`. Here for programs of others.
const NEWER: [&str; 2] = ["cuEventElapsedTime_v2", "cuGetProcAddress_v2"];

#[test]
fn the_library_exports_every_entry_point() {
    let tests = env::current_exe().expect("a path");
    let path = tests.parent().expect("a folder").join("libgimbal_libcuda.so");
    // SAFETY: loading it runs nothing but what Rust's runtime does.
    let library = unsafe { Library::new(&path) }.expect("it is built beside this test");
    for name in LIST.lines() {
        // SAFETY: the symbol is looked up and not called.
        let found = unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) };
        assert!(found.is_ok(), "{name}");
    }
}

#[test]
fn no_other_function_is_there_to_be_called() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/driver");
    let mut sources = String::new();
    for entry in fs::read_dir(folder).expect("the driver's sources") {
        sources += &fs::read_to_string(entry.expect("a file").path()).expect("a file");
    }
    let begins = "pub(super) extern \"C\" fn ";
    let exported = sources.split(begins).skip(1).filter_map(|rest| rest.split('(').next());
    let exported: BTreeSet<&str> = exported.filter(|name| !name.contains('"')).collect();
    let listed: BTreeSet<&str> = LIST.lines().collect();
    let others: Vec<&str> = exported.difference(&listed).copied().collect();
    assert_eq!(others, NEWER);
}
