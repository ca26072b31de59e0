//! Which symbols the library has: what the bindings must have, its marker, and nothing that nobody wrote.

use std::path::Path;
use std::{env, fs};

use libloading::Library;
use neuron_sys::Functions;

use crate::process::library;

/// What the bindings know and the emulator has not: programs of ours do not call it.
const ABSENT: [&str; 6] = [
    "nrt_tensor_allocate_empty",
    "nrt_tensor_attach_buffer",
    "nrt_tensor_get_va",
    "nrt_execute_repeat",
    "nrt_build_global_comm",
    "nrt_barrier",
];

fn has(library: &Library, name: &str) -> bool {
    // SAFETY: the symbol is looked up and not called.
    unsafe { library.get::<*const ()>(name.as_bytes()) }.is_ok()
}

#[test]
fn every_function_of_the_bindings_is_there_or_known_to_be_absent() {
    // SAFETY: loading it runs nothing but what Rust's runtime does.
    let library = unsafe { Library::new(library()) }.expect("it is built beside this test");
    for name in Functions::REQUIRED.iter().chain(Functions::OPTIONAL) {
        assert_eq!(has(&library, name), !ABSENT.contains(name), "{name}");
    }
    assert!(has(&library, "gimbal_libnrt_emulator"), "its marker");
}

#[test]
fn no_other_function_is_there_to_be_called() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let known = [Functions::REQUIRED, Functions::OPTIONAL].concat();
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("a file").path();
        // Programs beside the library have no functions of it.
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(path).expect("a file");
        let begins = "pub(crate) extern \"C\" fn ";
        for name in text.split(begins).skip(1).filter_map(|rest| rest.split('(').next()) {
            assert!(known.contains(&name), "{name}");
            count += 1;
        }
    }
    assert_eq!(count, known.len() - ABSENT.len());
}
