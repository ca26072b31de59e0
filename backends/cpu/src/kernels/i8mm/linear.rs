//! `x · Wᵀ` by products of matrices of bytes (SMMLA): two rows of weights times two of activations,
//! eight columns at once, into a tile of four int32.
//!
//! Weights lie with a depth of eight (`pack.rs`), activations of two rows together as a [`Pair`]. Sums are at most 32 · 127 · 127 a block, exact. Bytes: those of the
//! file. Bound: memory at 1 row, multiplies from about 8 rows on (neither measured: no such processor was
//! at hand). Oracle: `scalar`, to the bit. **Source**: Arm ARM, SMMLA (vector).

use std::arch::aarch64::*;

use super::dot::{EIGHTS, Pair, TwoBlocks, TwoRows};
use super::dot::{add, add_half, add_with_offset, products, products_of_all};
use crate::kernels::neon::linear::{Products, TILE, by_groups, float_tile, put};
use crate::kernels::neon::row;
use crate::kernels::neon::weights::{Scales, both, has_two_scales, integers};
use crate::kernels::table::{ActBlock, Acts, Linear};
use crate::kernels::tile::{Rows, Type, by_type};
use crate::pack::BLOCK;

/// Rows as `neon` has them, then two by two as pairs; the last of an odd number stays.
#[target_feature(enable = "neon")]
pub(super) fn quantise(x: &[f32], rows: usize, out: &mut [ActBlock]) {
    row::quantise(x, rows, out);
    for blocks in out.chunks_exact_mut(rows) {
        for two in blocks.as_chunks_mut::<2>().0 {
            Pair::put(two);
        }
    }
}

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) unsafe fn linear_groups(task: &Linear<'_>) {
    // SAFETY: as the caller promises.
    unsafe { by_type!(groups, task) }
}

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn groups<W: Type>(task: &Linear<'_>) {
    // SAFETY: as the caller promises; the features of `tile` are this function's.
    unsafe { by_groups(task, tile::<W>) }
}

#[target_feature(enable = "neon,dotprod,i8mm")]
fn tile<W: Type>(rows: usize, w: &[u8], x: Rows<'_>, out: &mut Products) {
    match x.acts {
        Acts::Blocks(acts) if W::DTYPE.is_quantised() => {
            let blocks = x.cols / BLOCK;
            let acts = &acts[x.row * blocks..][..rows * blocks];
            match rows / 2 {
                0 => {}
                1 => pairs::<1, W>(rows, w, acts, out),
                2 => pairs::<2, W>(rows, w, acts, out),
                3 => pairs::<3, W>(rows, w, acts, out),
                _ => pairs::<{ TILE / 2 }, W>(rows, w, acts, out),
            }
            if rows % 2 == 1 {
                let [first, second] = smmla_row::<W>(rows, w, acts);
                put(&mut out[rows - 1], 0, first);
                put(&mut out[rows - 1], 1, second);
            }
        }
        Acts::Floats(_) if !W::DTYPE.is_quantised() => float_tile::<W>(rows, w, x, out),
        _ => panic!("activations do not fit {:?}", W::DTYPE),
    }
}

/// The pairs of a tile of `rows` rows, in two halves of the weights' rows.
#[target_feature(enable = "neon,dotprod,i8mm")]
fn pairs<const P: usize, W: Type>(rows: usize, w: &[u8], x: &[ActBlock], out: &mut Products) {
    let halves = [smmla_pairs::<P, 0, W>(rows, w, x), smmla_pairs::<P, 1, W>(rows, w, x)];
    for (half, sums) in halves.into_iter().enumerate() {
        for (out, [first, second]) in out.as_chunks_mut::<2>().0.iter_mut().zip(sums) {
            // From tiles to rows of activations.
            put(&mut out[0], half, vuzp1q_f32(first, second));
            put(&mut out[1], half, vuzp2q_f32(first, second));
        }
    }
}

/// `P` pairs of rows with half `HALF` of the weights, two tiles of four sums each.
// Not inlined: its registers are then given out without regard to other sizes of `P`.
#[inline(never)]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn smmla_pairs<const P: usize, const HALF: usize, W: Type>(
    rows: usize,
    w: &[u8],
    x: &[ActBlock],
) -> [[float32x4_t; 2]; P] {
    let (mut first, mut last) = ([vdupq_n_f32(0.0); P], [vdupq_n_f32(0.0); P]);
    let tiles = x.chunks_exact(rows * W::EIGHT.blocks);
    for (all, tiles) in w.chunks_exact(W::EIGHT.bytes).zip(tiles) {
        let shared = Scales::shared::<W>(all, HALF);
        let blocks = all[..W::EIGHT.scales()].chunks_exact(W::EIGHT.block);
        for (block, x) in blocks.zip(tiles.chunks_exact(rows)) {
            let scales = shared.of::<W>(block, HALF);
            let scales = [firsts(scales), lasts(scales)];
            let q = integers_of::<HALF, W>(block);
            let twos = &x.as_chunks::<2>().0[..P];
            for p in 0..P {
                let x = TwoBlocks::load(&twos[p]);
                first[p] = add_tile::<W>(q[0], scales[0], x, first[p]);
                last[p] = add_tile::<W>(q[1], scales[1], x, last[p]);
            }
        }
    }
    let mut sums = [[vdupq_n_f32(0.0); 2]; P];
    for p in 0..P {
        sums[p] = [first[p], last[p]];
    }
    sums
}

/// The integers of half `HALF` of a block's rows, two by two.
#[inline]
#[target_feature(enable = "neon")]
fn integers_of<const HALF: usize, W: Type>(block: &[u8]) -> [TwoRows; 2] {
    let piece = 2 * HALF;
    let [a, b] = [integers::<W>(block, piece), integers::<W>(block, piece + 1)];
    let [c, d] = [integers::<W>(block, piece + 4), integers::<W>(block, piece + 5)];
    [[[a[0], c[0]], [a[1], c[1]]], [[b[0], d[0]], [b[1], d[1]]]]
}

/// Scales of the first two rows of four, as a tile has them: each twice.
#[inline]
#[target_feature(enable = "neon")]
fn firsts(Scales { d: [low, high], m }: Scales) -> Scales {
    Scales { d: [vzip1q_f32(low, low), vzip1q_f32(high, high)], m: vzip1q_f32(m, m) }
}

/// The same of the last two.
#[inline]
#[target_feature(enable = "neon")]
fn lasts(Scales { d: [low, high], m }: Scales) -> Scales {
    Scales { d: [vzip2q_f32(low, low), vzip2q_f32(high, high)], m: vzip2q_f32(m, m) }
}

/// Adds a block of two rows of weights with a pair.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn add_tile<W: Type>(q: TwoRows, scales: Scales, x: TwoBlocks, sum: float32x4_t) -> float32x4_t {
    let Scales { d: [low, high], m } = scales;
    if W::DTYPE.has_offset() {
        add_with_offset(sum, q, [low, m], x)
    } else if has_two_scales(W::DTYPE) {
        let sum = add_half(sum, q[0], low, [x.q[0], x.q[1]], x.d);
        add_half(sum, q[1], high, [x.q[2], x.q[3]], x.d)
    } else {
        add(sum, q, low, x)
    }
}

/// The last row of a tile of an odd number, with all eight rows of weights: as both rows of a pair.
#[inline(never)]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn smmla_row<W: Type>(rows: usize, w: &[u8], x: &[ActBlock]) -> [float32x4_t; 2] {
    let mut sums = [vdupq_n_f32(0.0); 2];
    let tiles = x.chunks_exact(rows * W::EIGHT.blocks);
    for (all, tiles) in w.chunks_exact(W::EIGHT.bytes).zip(tiles) {
        let shared = [Scales::shared::<W>(all, 0), Scales::shared::<W>(all, 1)];
        let blocks = all[..W::EIGHT.scales()].chunks_exact(W::EIGHT.block);
        for (block, x) in blocks.zip(tiles.chunks_exact(rows)) {
            let x = &x[rows - 1];
            let ([first, last], q) = (both::<W>(shared, block), twice(&x.q));
            sums[0] = add_row::<W>(integers_of::<0, W>(block), first, q, x, sums[0]);
            sums[1] = add_row::<W>(integers_of::<1, W>(block), last, q, x, sums[1]);
        }
    }
    sums
}

/// Each eight columns of a row, twice.
#[inline]
#[target_feature(enable = "neon")]
fn twice(q: &[i8; BLOCK]) -> [int8x16_t; EIGHTS] {
    // SAFETY: `q` is two times 16 bytes; any alignment will do.
    let q = unsafe { vld1q_s8_x2(q.as_ptr()) };
    let [low, high] = [vreinterpretq_s64_s8(q.0), vreinterpretq_s64_s8(q.1)];
    [
        vreinterpretq_s8_s64(vdupq_laneq_s64::<0>(low)),
        vreinterpretq_s8_s64(vdupq_laneq_s64::<1>(low)),
        vreinterpretq_s8_s64(vdupq_laneq_s64::<0>(high)),
        vreinterpretq_s8_s64(vdupq_laneq_s64::<1>(high)),
    ]
}

/// Adds a block of four rows of weights with one row of activations: both columns of a tile are its.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn add_row<W: Type>(
    q: [TwoRows; 2],
    scales: Scales,
    eights: [int8x16_t; EIGHTS],
    x: &ActBlock,
    mut sum: float32x4_t,
) -> float32x4_t {
    let Scales { d: [low, high], m } = scales;
    if W::DTYPE.has_offset() {
        sum = vfmaq_n_f32(sum, m, x.s);
    }
    if has_two_scales(W::DTYPE) {
        let [a, b] = [0, 1].map(|i| products(q[i][0], [eights[0], eights[1]]));
        sum = vfmaq_f32(sum, vcvtq_f32_s32(vuzp1q_s32(a, b)), vmulq_n_f32(low, x.d));
        let [a, b] = [0, 1].map(|i| products(q[i][1], [eights[2], eights[3]]));
        return vfmaq_f32(sum, vcvtq_f32_s32(vuzp1q_s32(a, b)), vmulq_n_f32(high, x.d));
    }
    let whole = vuzp1q_s32(products_of_all(q[0], eights), products_of_all(q[1], eights));
    vfmaq_f32(sum, vcvtq_f32_s32(whole), vmulq_n_f32(low, x.d))
}
