//! `x · Wᵀ` by dot products of bytes (SDOT): a weight group is read once for a tile of up to eight rows
//! of activations, for one row at once, for more in two halves of four rows of weights.
//!
//! An SDOT adds four products of int8 in each of four lanes of int32: at most 32 · 127 · 127 a block,
//! exact. Bytes: those of the file. Bound: memory at 1 row, multiplies from about 8 rows on (neither
//! measured: no such processor was at hand). Oracle: `scalar`, to the bit.

use std::arch::aarch64::*;

use gimbal_model::weights::DType;

use super::dot::{Fours, Row, add, add_half, add_with_offset};
use super::vector::{Eight, all, load_bf16, load_f16, load_wide};
use super::weights::{Scales, both, has_two_scales, integers};
use crate::kernels::table::{ActBlock, Acts, Linear};
use crate::kernels::tile::{ROWS_CACHED, Rows, Type, by_type, rows_of};
use crate::pack::{BLOCK, LANES};

/// Rows of activations of a tile.
pub(in crate::kernels) const TILE: usize = 8;
const _: () = assert!(ROWS_CACHED.is_multiple_of(TILE), "tiles begin where the activations' do");

/// Products of a group of weights with the rows of a tile.
pub(in crate::kernels) type Products = [[f32; LANES]; TILE];

/// Multiplies one group with so many rows of activations.
pub(in crate::kernels) type MultiplyTile = unsafe fn(usize, &[u8], Rows<'_>, &mut Products);

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn linear_groups(task: &Linear<'_>) {
    // SAFETY: as the caller promises.
    unsafe { by_type!(groups, task) }
}

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "neon,dotprod")]
unsafe fn groups<W: Type>(task: &Linear<'_>) {
    // SAFETY: as the caller promises; the features of `tile` are this function's.
    unsafe { by_groups(task, tile::<W>) }
}

/// Multiplies each group of the task with all tiles.
///
/// # Safety
/// - The caller owns the output columns of the task's groups.
/// - This CPU has the features of `tile`.
pub(in crate::kernels) unsafe fn by_groups(task: &Linear<'_>, tile: MultiplyTile) {
    let mut first = 0;
    while first < task.rows {
        let end = (first + ROWS_CACHED).min(task.rows);
        for g in task.groups.clone() {
            let w = task.weight.group(g);
            for row in (first..end).step_by(TILE) {
                let rows = TILE.min(end - row);
                let x = Rows { acts: task.acts, row, cols: task.weight.cols };
                let mut products = [[0.0; LANES]; TILE];
                // SAFETY: as the caller promises.
                unsafe { tile(rows, w, x, &mut products) };
                for (t, products) in products[..rows].iter().enumerate() {
                    // SAFETY: the caller owns the columns of these groups.
                    unsafe { task.out.put(row + t, g, *products) };
                }
            }
        }
        first = end;
    }
}

#[target_feature(enable = "neon,dotprod")]
fn tile<W: Type>(rows: usize, w: &[u8], x: Rows<'_>, out: &mut Products) {
    match x.acts {
        Acts::Blocks(acts) if W::DTYPE.is_quantised() => {
            let blocks = x.cols / BLOCK;
            let acts = &acts[x.row * blocks..][..rows * blocks];
            match rows {
                1 => one_row::<W>(w, acts, out),
                2 => halves::<2, W>(w, acts, out),
                3 => halves::<3, W>(w, acts, out),
                4 => halves::<4, W>(w, acts, out),
                5 => halves::<5, W>(w, acts, out),
                6 => halves::<6, W>(w, acts, out),
                7 => halves::<7, W>(w, acts, out),
                _ => halves::<8, W>(w, acts, out),
            }
        }
        Acts::Floats(_) if !W::DTYPE.is_quantised() => float_tile::<W>(rows, w, x, out),
        _ => panic!("activations do not fit {:?}", W::DTYPE),
    }
}

/// One row of activations with all eight rows of weights.
#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
fn one_row<W: Type>(w: &[u8], x: &[ActBlock], out: &mut Products) {
    let mut sums = all(0.0);
    let rows = x.chunks_exact(W::EIGHT.blocks);
    for (all, x) in w.chunks_exact(W::EIGHT.bytes).zip(rows) {
        let shared = [Scales::shared::<W>(all, 0), Scales::shared::<W>(all, 1)];
        let blocks = all[..W::EIGHT.scales()].chunks_exact(W::EIGHT.block);
        for (block, x) in blocks.zip(x) {
            let ([first, last], x) = (both::<W>(shared, block), Row::load(x));
            sums[0] = add_block::<true, W>(integers_of::<0, W>(block), first, x, sums[0]);
            sums[1] = add_block::<true, W>(integers_of::<1, W>(block), last, x, sums[1]);
        }
    }
    put(&mut out[0], 0, sums[0]);
    put(&mut out[0], 1, sums[1]);
}

#[target_feature(enable = "neon,dotprod")]
fn halves<const T: usize, W: Type>(w: &[u8], x: &[ActBlock], out: &mut Products) {
    let sums = [sdot_rows::<T, 0, W>(w, x), sdot_rows::<T, 1, W>(w, x)];
    for t in 0..T {
        put(&mut out[t], 0, sums[0][t]);
        put(&mut out[t], 1, sums[1][t]);
    }
}

/// Four products of half `half` of a group.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::kernels) fn put(out: &mut [f32; LANES], half: usize, four: float32x4_t) {
    let out = &mut out[4 * half..][..4];
    // SAFETY: `out` is 16 bytes; any alignment will do.
    unsafe { vst1q_f32(out.as_mut_ptr(), four) };
}

/// `T` rows of activations with half `HALF` of the weights: `(d·d_x)·Σq·q_x` a block and, where there
/// are offsets, `m·s_x` before it.
// Not inlined: its registers are then given out without regard to other sizes of `T`.
#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
fn sdot_rows<const T: usize, const HALF: usize, W: Type>(
    w: &[u8],
    x: &[ActBlock],
) -> [float32x4_t; T] {
    let mut sums = [vdupq_n_f32(0.0); T];
    let tiles = x.as_chunks::<T>().0.chunks_exact(W::EIGHT.blocks);
    for (all, tiles) in w.chunks_exact(W::EIGHT.bytes).zip(tiles) {
        let shared = Scales::shared::<W>(all, HALF);
        let blocks = all[..W::EIGHT.scales()].chunks_exact(W::EIGHT.block);
        for (block, x) in blocks.zip(tiles) {
            let scales = shared.of::<W>(block, HALF);
            let q = integers_of::<HALF, W>(block);
            for t in 0..T {
                sums[t] = add_block::<false, W>(q, scales, Row::load(&x[t]), sums[t]);
            }
        }
    }
    sums
}

/// The integers of half `HALF` of a block's rows: by four columns those below 16, and the others.
#[inline]
#[target_feature(enable = "neon")]
fn integers_of<const HALF: usize, W: Type>(block: &[u8]) -> [Fours; 2] {
    let [a, b] = [integers::<W>(block, HALF), integers::<W>(block, 2 + HALF)];
    let [c, d] = [integers::<W>(block, 4 + HALF), integers::<W>(block, 6 + HALF)];
    [[a[0], b[0], c[0], d[0]], [a[1], b[1], c[1], d[1]]]
}

/// Adds a block of one row of activations with four rows of weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_block<const ONE: bool, W: Type>(
    q: [Fours; 2],
    scales: Scales,
    x: Row,
    sum: float32x4_t,
) -> float32x4_t {
    let Scales { d: [low, high], m } = scales;
    if W::DTYPE.has_offset() {
        add_with_offset::<ONE>(sum, q, [low, m], x)
    } else if has_two_scales(W::DTYPE) {
        let sum = add_half(sum, q[0], low, x.q[0], x.ds);
        add_half(sum, q[1], high, x.q[1], x.ds)
    } else {
        add::<ONE>(sum, q, low, x)
    }
}

/// Weights that are floats, with so many rows of them.
#[target_feature(enable = "neon")]
pub(in crate::kernels) fn float_tile<W: Type>(
    rows: usize,
    w: &[u8],
    x: Rows<'_>,
    out: &mut Products,
) {
    let Acts::Floats(acts) = x.acts else { panic!("activations do not fit {:?}", W::DTYPE) };
    macro_rules! tile {
        ($t:literal) => {{
            let sums = float_rows::<$t, W>(w, rows_of(acts, x.row, x.cols));
            for (out, sums) in out.iter_mut().zip(sums) {
                put(out, 0, sums[0]);
                put(out, 1, sums[1]);
            }
        }};
    }
    match rows {
        1 => tile!(1),
        2 => tile!(2),
        3 => tile!(3),
        4 => tile!(4),
        5 => tile!(5),
        6 => tile!(6),
        7 => tile!(7),
        _ => tile!(8),
    }
}

#[inline(never)]
#[target_feature(enable = "neon")]
fn float_rows<const T: usize, W: Type>(w: &[u8], x: [&[f32]; T]) -> [Eight; T] {
    let size = W::DTYPE.block().1 * LANES;
    let (mut low, mut high) = ([vdupq_n_f32(0.0); T], [vdupq_n_f32(0.0); T]);
    let columns = w.len() / size;
    assert!(x.iter().all(|x| x.len() == columns), "rows are as long as the weights'");
    for (k, w) in w.chunks_exact(4 * size).enumerate() {
        let mut four = [vdupq_n_f32(0.0); T];
        for t in 0..T {
            // SAFETY: columns `4 k..4 k + 4` are in the weights, and so in the row (asserted).
            let x = unsafe { x[t].get_unchecked(4 * k..4 * k + 4) };
            // SAFETY: `x` is 16 bytes; any alignment will do.
            four[t] = unsafe { vld1q_f32(x.as_ptr()) };
        }
        macro_rules! column {
            ($u:literal) => {
                let w = match W::DTYPE {
                    DType::F16 => load_f16(w, $u * size),
                    DType::BF16 => load_bf16(w, $u * size),
                    _ => load_wide(w, $u * size),
                };
                for t in 0..T {
                    low[t] = vfmaq_laneq_f32::<$u>(low[t], w[0], four[t]);
                    high[t] = vfmaq_laneq_f32::<$u>(high[t], w[1], four[t]);
                }
            };
        }
        column!(0);
        column!(1);
        column!(2);
        column!(3);
    }
    let mut sums = [all(0.0); T];
    for t in 0..T {
        sums[t] = [low[t], high[t]];
    }
    sums
}
