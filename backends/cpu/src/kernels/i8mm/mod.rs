//! The kernels for Arm (AArch64) with products of matrices of bytes (SMMLA): Neoverse V1 and later,
//! Graviton3 and later. Run under emulation only.
//!
//! `linear` holds the products of integers, `dot` their inner piece, `peak` what they are measured against; everything else is
//! of the table `neon`.

mod dot;
mod linear;
mod peak;

use std::arch::is_aarch64_feature_detected;

use super::neon;
use super::table::{ActBlock, Arithmetic, Kernels, Linear};
use crate::pack::{LANES, Packing};

pub(super) static KERNELS: Kernels = Kernels {
    name: "i8mm",
    packing: Packing { rows: LANES, depth: 8 },
    linear,
    quantise,
    peak,
    ..neon::KERNELS
};

/// What this table needs and this CPU lacks, by the names in `/proc/cpuinfo`.
pub(super) fn lacking() -> Vec<&'static str> {
    let mut lacking = neon::lacking();
    if !is_aarch64_feature_detected!("i8mm") {
        lacking.push("i8mm");
    }
    lacking
}

/// Calls a function that needs the features; the table it stands in is only used where
/// `lacking` said nothing.
macro_rules! with_features {
    ($call:expr) => {{
        debug_assert!(lacking().is_empty());
        // SAFETY: NEON, its dot products and its products of matrices were detected before this table
        // was chosen; further preconditions of the callee are those of the enclosing function.
        let outcome = unsafe { $call };
        outcome
    }};
}

unsafe fn linear(task: &Linear<'_>) {
    with_features!(linear::linear_groups(task));
}
fn quantise(x: &[f32], rows: usize, out: &mut [ActBlock]) {
    with_features!(linear::quantise(x, rows, out));
}
fn peak(arithmetic: Arithmetic, rounds: usize) -> usize {
    with_features!(peak::blocks(arithmetic, rounds))
}
