//! One target under libFuzzer: `GIMBAL_FUZZ_TARGET` names it. Built by `cargo xtask fuzz`.

#![no_main]

use std::sync::OnceLock;

use gimbal_fuzz::{TARGETS, Target, find};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("GIMBAL_FUZZ_TARGET").unwrap_or_default();
        let known = TARGETS.map(|target| target.name).join(", ");
        if name == "tokenizer" {
            // The library panics on some files, which our code catches and turns into an error. The
            // fuzzer's hook would end the process before that; a panic that gets here still does.
            drop(std::panic::take_hook());
        }
        find(&name).unwrap_or_else(|| panic!("no target {name:?}; known: {known}"))
    });
    (target.run)(bytes);
});
