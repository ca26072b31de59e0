//! The kernels for x86-64 with AVX2, FMA and F16C.
//!
//! `linear` and `attend` hold the two large ones, `row` those of single rows, `vector` what they share,
//! `peak` what they are measured against; this file is the table.

mod attend;
mod linear;
mod peak;
mod row;
pub(super) mod vector;

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use gimbal_model::graph::Pair;

use super::table::{ActBlock, Arithmetic, Attend, Kernels, Linear};
use crate::pack::{LANES, Packing};

/// Bytes of a cache line.
const LINE: usize = 64;

pub(super) const KERNELS: Kernels = Kernels {
    name: "avx2",
    packing: Packing::of_lanes(LANES),
    tile_rows: 1,
    linear,
    quantise,
    rms_norm,
    silu_mul,
    gelu_mul,
    attend,
    add,
    rotate,
    to_int8,
    to_f16,
    peak,
    read,
};

/// What this table needs and this CPU lacks.
pub(super) fn lacking() -> Vec<&'static str> {
    let needed = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
    ];
    needed.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect()
}

/// Calls a function that needs the features; the table it stands in is only used where
/// `lacking` said nothing.
macro_rules! with_features {
    ($call:expr) => {{
        debug_assert!(lacking().is_empty());
        // SAFETY: AVX2, FMA and F16C were detected before this table was chosen; further
        // preconditions of the callee are those of the enclosing function.
        let outcome = unsafe { $call };
        outcome
    }};
}

unsafe fn linear(task: &Linear<'_>) {
    with_features!(linear::linear_groups(task));
}
fn quantise(x: &[f32], _one: usize, out: &mut [ActBlock]) {
    with_features!(row::quantise(x, out));
}
fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    with_features!(row::rms_norm(x, weight, eps, out));
}
fn silu_mul(gate: &mut [f32], up: &[f32]) {
    with_features!(row::silu_mul(gate, up));
}
fn gelu_mul(gate: &mut [f32], up: &[f32]) {
    with_features!(row::gelu_mul(gate, up));
}
unsafe fn attend(task: &Attend<'_>, out: &mut [f32]) {
    with_features!(attend::attend_tile(task, out, prefetch));
}
fn add(row: &mut [f32], other: &[f32]) {
    with_features!(row::add(row, other));
}
fn rotate(head: &mut [f32], angles: &[[f32; 2]], pair: Pair) {
    with_features!(row::rotate(head, angles, pair));
}
fn to_int8(x: &[f32], out: &mut [[u8; 1]]) -> f32 {
    with_features!(row::to_int8(x, out))
}
fn to_f16(x: &[f32], out: &mut [[u8; 2]]) {
    with_features!(row::to_f16(x, out));
}
fn peak(arithmetic: Arithmetic, rounds: usize) -> usize {
    with_features!(peak::blocks(arithmetic, rounds))
}
/// Asks memory for bytes that are read soon.
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(LINE) {
        // SAFETY: a prefetch of any address is allowed; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}
fn read(bytes: &[u8]) -> u64 {
    with_features!(peak::read(bytes))
}
