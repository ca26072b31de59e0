//! What is not libnrt is refused by name, before anything of it is called.

use std::path::Path;

use neuron_sys::{Functions, Library, OpenError};

fn open(path: &str) -> OpenError {
    // SAFETY: the files named here are absent or the system's own libraries, whose initialisers may run; none
    // of their functions is called, since none has a required symbol.
    let opened = unsafe { Library::open(Some(Path::new(path))) };
    opened.map(|library| library.path).expect_err(path)
}

#[test]
fn a_path_that_is_set_must_be_there() {
    let error = open("/nowhere/libnrt.so.1");
    assert!(matches!(error, OpenError::Load { .. }), "{error:?}");
    let told = error.to_string();
    assert!(told.starts_with("/nowhere/libnrt.so.1: "), "{told}");
    assert!(told.contains("No such file"), "{told}");
}

#[test]
fn another_library_is_refused_by_the_functions_that_it_lacks() {
    let error = open("libm.so.6");
    let OpenError::Symbols { missing, .. } = &error else { panic!("{error:?}") };
    assert_eq!(missing, Functions::REQUIRED);
    let told = error.to_string();
    assert!(told.contains("it lacks nrt_init, nrt_close"), "{told}");
    assert!(told.contains("aws-neuronx-runtime-lib"), "{told}");
}
