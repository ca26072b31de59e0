//! Every case of the selftest on the emulator, with every module and type, in both orders of warps.

use gimbal_cuda::selftest::{Bench, CASES};

use crate::device::{Device, setups};

fn case(name: &str) {
    let case = CASES.iter().find(|case| case.name == name).expect("a case of that name");
    for setup in setups() {
        let device = Device::new(setup);
        for seed in [3, 23] {
            let outcome = case.run(&Bench::new(&device, setup.kind, seed));
            // What was checked came near to what is allowed, and not to nothing but where a kernel is exact.
            let worst = outcome.unwrap_or_else(|why| panic!("{setup:?}: {name}: {why}"));
            assert!(
                worst <= 1.0
                    && (worst > 1e-3
                        || ["embed", "embed of blocks", "round", "argmax", "sample"]
                            .contains(&name)),
                "{setup:?}: {worst}"
            );
        }
    }
}

/// Each case is a test by its name; one that is none would not be found.
macro_rules! cases {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            case($name);
        })*

        #[test]
        fn every_case_is_a_test() {
            assert_eq!(CASES.map(|case| case.name), [$($name),*]);
        }
    };
}

cases! {
    embed: "embed",
    round: "round",
    reduce: "reduce",
    norm_of_rows: "rms_norm",
    norm_added: "rms_norm_add",
    norm_of_groups: "rms_norm_groups",
    activate: "silu_mul and gelu_mul",
    rope: "rope_kv_write",
    argmax: "argmax",
    sample: "sample",
    products: "skinny and gemm",
    embed_of_blocks: "embed of blocks",
    products_of_blocks: "skinny and gemm of blocks",
    decode: "decode and merge",
    prefill: "prefill",
}
