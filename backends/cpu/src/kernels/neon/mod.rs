//! The kernels for Arm (AArch64) with dot products of bytes: Neoverse N1 and later, Graviton2 and later.
//! Run under emulation only.
//!
//! `linear` and `attend` hold the two large ones, `dot` the inner piece of the first, `row` those of single rows, `weights` how packed
//! weights are read, `vector` what they share, `peak` what they are measured against; this file is the
//! table. SVE is left out: of the processors meant here, most have vectors of 128 bits as NEON has.

mod attend;
mod dot;
pub(super) mod linear;
mod peak;
pub(super) mod row;
pub(super) mod vector;
pub(super) mod weights;

use std::arch::is_aarch64_feature_detected;

use gimbal_model::graph::Pair;

use super::table::{ActBlock, Arithmetic, Attend, Kernels, Linear};
use crate::pack::{LANES, Packing};

pub(super) const KERNELS: Kernels = Kernels {
    name: "neon",
    packing: Packing::of_lanes(LANES),
    tile_rows: linear::TILE,
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

/// What this table needs and this CPU lacks, by the names in `/proc/cpuinfo`.
pub(super) fn lacking() -> Vec<&'static str> {
    let needed = [
        ("asimd", is_aarch64_feature_detected!("neon")),
        ("asimddp", is_aarch64_feature_detected!("dotprod")),
    ];
    needed.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect()
}

/// Calls a function that needs the features; the table it stands in is only used where
/// `lacking` said nothing.
macro_rules! with_features {
    ($call:expr) => {{
        debug_assert!(lacking().is_empty());
        // SAFETY: NEON and its dot products were detected before this table was chosen; further
        // preconditions of the callee are those of the enclosing function.
        let outcome = unsafe { $call };
        outcome
    }};
}

unsafe fn linear(task: &Linear<'_>) {
    with_features!(linear::linear_groups(task));
}
fn quantise(x: &[f32], rows: usize, out: &mut [ActBlock]) {
    with_features!(row::quantise(x, rows, out));
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
    with_features!(attend::attend_tile(task, out));
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
fn read(bytes: &[u8]) -> u64 {
    with_features!(peak::read(bytes))
}
