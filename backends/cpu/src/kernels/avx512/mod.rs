//! The kernels for x86-64 with AVX-512 and its dot products of bytes (VNNI): Xeon Scalable from the
//! second generation, Zen 4 and later. Run on Zen 4.
//!
//! `linear` and `attend` hold the two large ones, `vector` what they share, `peak` what they are
//! measured against. Kernels of single rows are those of AVX2.

mod attend;
mod linear;
mod peak;
mod vector;

use super::avx2;
use super::table::{Arithmetic, Attend, Kernels, Linear};
use crate::pack::Packing;

pub(super) static KERNELS: Kernels = Kernels {
    name: "avx512-vnni",
    packing: Packing::of_lanes(vector::WIDE),
    linear,
    attend,
    peak,
    ..avx2::KERNELS
};

/// What this table needs and this CPU lacks.
pub(super) fn lacking() -> Vec<&'static str> {
    let needed = [
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    let lacking = needed.into_iter().filter(|(_, has)| !has).map(|(name, _)| name);
    avx2::lacking().into_iter().chain(lacking).collect()
}

/// Calls a function that needs the features; the table it stands in is only used where
/// `lacking` said nothing.
macro_rules! with_features {
    ($call:expr) => {{
        debug_assert!(lacking().is_empty());
        // SAFETY: AVX2, FMA, F16C and the four parts of AVX-512 were detected before this table was
        // chosen; further preconditions of the callee are those of the enclosing function.
        let outcome = unsafe { $call };
        outcome
    }};
}

unsafe fn linear(task: &Linear<'_>) {
    with_features!(linear::linear_groups(task));
}
unsafe fn attend(task: &Attend<'_>, out: &mut [f32]) {
    with_features!(attend::attend_tile(task, out, avx2::prefetch));
}
fn peak(arithmetic: Arithmetic, rounds: usize) -> usize {
    with_features!(peak::blocks(arithmetic, rounds))
}
