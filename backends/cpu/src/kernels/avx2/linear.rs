//! `x · Wᵀ`: a weight group is read once for a tile of up to eight rows of activations.
//!
//! `maddubs` of nibbles and int8 stays within int16 over a whole block (16 · 15 · 127 = 30 480), of
//! five bits over half of one (8 · 31 · 127 = 31 496): one `madd` each. Bytes: those of the file.
//! Bound: memory at 1 row, the arithmetic of `peak` from about 8 rows on. Oracle: `scalar`, to the
//! bit.

use std::arch::x86_64::*;

use gimbal_model::weights::DType;

use super::vector::{broadcast, hidden, lanes, load, load_bf16, load_f16, load_i8, load_u8};
use super::vector::{load_wide, prefetch};
use crate::kernels::table::{ActBlock, Acts, Linear};
use crate::kernels::tile::{PREFETCH, Q6K, Q8_0, ROWS_CACHED, Rows, Type};
use crate::kernels::tile::{by_type, cut, rows_at_once, rows_of};
use crate::pack::{BLOCK, LANES, Layout, lifted};

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn linear_groups(task: &Linear<'_>) {
    // SAFETY: as the caller promises.
    unsafe { by_type!(groups, task) }
}

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn groups<W: Type>(task: &Linear<'_>) {
    let mut first = 0;
    while first < task.rows {
        let end = (first + ROWS_CACHED).min(task.rows);
        for g in task.groups.clone() {
            let mut row = first;
            while row < end {
                let rows = rows_at_once(end - row, const { most::<W>() });
                let x = Rows { acts: task.acts, row, cols: task.weight.cols };
                let w = task.weight.group(g);
                macro_rules! tile {
                    ($t:literal) => {{
                        let sums = tile::<$t, W>(w, x);
                        for t in 0..$t {
                            // SAFETY: the caller owns the columns of these groups.
                            unsafe { task.out.put(row + t, g, lanes(sums[t])) };
                        }
                    }};
                }
                match rows {
                    1 => tile!(1),
                    2 => tile!(2),
                    3 => tile!(3),
                    4 => tile!(4),
                    6 => tile!(6),
                    _ => tile!(8),
                }
                row += rows;
            }
        }
        first = end;
    }
}

/// Rows of activations that the registers hold.
const fn most<W: Type>() -> usize {
    match W::DTYPE {
        // Of five bits, six rows spill: 298 GOP/s with four against 130.
        DType::Q5_0 | DType::Q5_1 | DType::Q5K => 4,
        DType::Q6K => 6,
        _ => 8,
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<const T: usize, W: Type>(w: &[u8], x: Rows<'_>) -> [__m256; T] {
    match x.acts {
        Acts::Blocks(acts) if W::DTYPE.is_quantised() => {
            let rows = rows_of(acts, x.row, x.cols / BLOCK);
            match W::DTYPE {
                DType::Q8_0 => byte_tile(w, rows),
                DType::Q6K => six_tile(w, rows),
                _ => nibble_tile::<T, W>(w, rows),
            }
        }
        Acts::Floats(acts) if !W::DTYPE.is_quantised() => {
            let rows = rows_of(acts, x.row, x.cols);
            match W::DTYPE {
                DType::F16 => float_tile::<T, 16>(w, rows, |w| load_f16(w, 0)),
                DType::BF16 => float_tile::<T, 16>(w, rows, |w| load_bf16(w, 0)),
                _ => float_tile::<T, 32>(w, rows, |w| load_wide(w, 0)),
            }
        }
        _ => panic!("activations do not fit {:?}", W::DTYPE),
    }
}

/// Types of four and five bits: `(d·d_x)·Σq·q_x` a block and, where there are offsets, `m·s_x`
/// before it.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn nibble_tile<const T: usize, W: Type>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let (low, bit) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
    let ones = _mm256_set1_epi16(1);
    let halves = if W::HAS_FIFTH { 2 } else { 1 };
    let mut sums = [_mm256_setzero_ps(); T];
    let x = cut(x, w.len() / W::EIGHT.bytes * W::EIGHT.blocks);
    for (s, w) in w.chunks_exact(W::EIGHT.bytes).enumerate() {
        let blocks = w[..W::EIGHT.scales()].chunks_exact(W::EIGHT.block);
        for (i, block) in blocks.enumerate() {
            let b = s * W::EIGHT.blocks + i;
            prefetch::<3>(block, PREFETCH * W::EIGHT.block);
            let mut whole = [_mm256_setzero_si256(); T];
            if !W::DTYPE.has_offset() {
                for t in 0..T {
                    let [first, second] = x[t][b].minus.map(|sum| _mm256_set1_epi32(sum));
                    let sum = _mm256_add_epi32(first, second);
                    whole[t] = _mm256_mullo_epi32(sum, _mm256_set1_epi32(lifted(W::DTYPE).into()));
                }
            }
            let mut fifth = if W::HAS_FIFTH { load(block, 128) } else { bit };
            for half in 0..halves {
                let mut pairs = [_mm256_setzero_si256(); T];
                for v in half * 4 / halves..(half + 1) * 4 / halves {
                    let packed = load(block, v * 32);
                    let mut lo = _mm256_and_si256(packed, low);
                    let mut hi = _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low);
                    if W::HAS_FIFTH {
                        // Bits 0 and 4 are this vector's; no neighbouring byte's comes that far.
                        let first = _mm256_and_si256(_mm256_slli_epi16::<4>(fifth), bit);
                        lo = _mm256_or_si256(lo, first);
                        hi = _mm256_or_si256(hi, _mm256_and_si256(fifth, bit));
                        fifth = _mm256_srli_epi16::<1>(fifth);
                    }
                    for t in 0..T {
                        let q = &x[t][b].q;
                        // The order is pinned: the compiler's own, row by row, spills (317 GOP/s
                        // against 355), and Zen 3 runs two `maddubs`, then two adds, in a quarter
                        // fewer cycles than one by one.
                        let first = hidden(broadcast(q, v * 4));
                        let second = hidden(broadcast(q, 16 + v * 4));
                        let lo = _mm256_maddubs_epi16(lo, first);
                        let hi = _mm256_maddubs_epi16(hi, second);
                        pairs[t] = hidden(_mm256_add_epi16(pairs[t], _mm256_add_epi16(lo, hi)));
                    }
                }
                for t in 0..T {
                    let fours = _mm256_madd_epi16(pairs[t], ones);
                    whole[t] = hidden(_mm256_add_epi32(whole[t], fours));
                }
            }
            let (d, m) = scales::<W>(w, block);
            for whole in &mut whole {
                *whole = hidden(_mm256_castps_si256(_mm256_cvtepi32_ps(*whole)));
            }
            for t in 0..T {
                if let Some(m) = m {
                    sums[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x[t][b].s), sums[t]);
                }
                let by = _mm256_mul_ps(d, _mm256_set1_ps(x[t][b].d));
                sums[t] = _mm256_fmadd_ps(_mm256_castsi256_ps(whole[t]), by, sums[t]);
            }
        }
    }
    sums
}

/// `d` and `m` of a block of four or five bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scales<W: Type>(w: &[u8], block: &[u8]) -> (__m256, Option<__m256>) {
    let (d, small) = (load_f16(w, W::EIGHT.scales()), W::EIGHT.quants);
    match W::DTYPE {
        DType::Q4_0 | DType::Q5_0 => (d, None),
        DType::Q4_1 | DType::Q5_1 => (d, Some(load_f16(w, W::EIGHT.offsets()))),
        _ => {
            let m = load_f16(w, W::EIGHT.offsets());
            let (by, minus) = (load_u8(block, small), load_u8(block, small + LANES));
            (_mm256_mul_ps(d, by), Some(_mm256_mul_ps(m, minus)))
        }
    }
}

/// `Q8_0`: `(d·d_x)·Σq·q_x` a block.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn byte_tile<const T: usize>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); T];
    let x = cut(x, w.len() / Q8_0::EIGHT.bytes);
    for (b, w) in w.chunks_exact(Q8_0::EIGHT.bytes).enumerate() {
        prefetch::<5>(w, PREFETCH * Q8_0::EIGHT.bytes);
        let mut whole = [_mm256_setzero_si256(); T];
        for v in 0..8 {
            let signed = load(w, v * 32);
            let size = _mm256_abs_epi8(signed);
            for t in 0..T {
                let x = _mm256_sign_epi8(broadcast(&x[t][b].q, v * 4), signed);
                let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(size, x), ones);
                whole[t] = hidden(_mm256_add_epi32(whole[t], pairs));
            }
        }
        let d = load_f16(w, Q8_0::EIGHT.scales());
        for t in 0..T {
            let by = _mm256_mul_ps(d, _mm256_set1_ps(x[t][b].d));
            sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[t]), by, sums[t]);
        }
    }
    sums
}

/// `Q6_K`: `(d·d_x)·Σq·q_x` every 16 columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn six_tile<const T: usize>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    const LAYOUT: Layout = Q6K::EIGHT;
    let (low, upper) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); T];
    for (s, w) in w.chunks_exact(LAYOUT.bytes).enumerate() {
        let blocks = w[..LAYOUT.scales()].chunks_exact(LAYOUT.block);
        for (i, block) in blocks.enumerate() {
            let b = s * LAYOUT.blocks + i;
            prefetch::<4>(block, PREFETCH * LAYOUT.block);
            for half in 0..2 {
                let mut two = load(block, 128 + 32 * half);
                let mut whole = [_mm256_setzero_si256(); T];
                for v in 0..4 {
                    let packed = load(block, v * 32);
                    let four = if half == 0 { packed } else { _mm256_srli_epi16::<4>(packed) };
                    let above = _mm256_and_si256(_mm256_slli_epi16::<4>(two), upper);
                    two = _mm256_srli_epi16::<2>(two);
                    let six = _mm256_or_si256(_mm256_and_si256(four, low), above);
                    let signed = _mm256_sub_epi8(six, _mm256_set1_epi8(32));
                    let size = _mm256_abs_epi8(signed);
                    for t in 0..T {
                        let x = _mm256_sign_epi8(broadcast(&x[t][b].q, 16 * half + v * 4), signed);
                        let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(size, x), ones);
                        whole[t] = hidden(_mm256_add_epi32(whole[t], pairs));
                    }
                }
                let small = load_i8(block, LAYOUT.quants + LANES * half);
                let d = _mm256_mul_ps(load_f16(w, LAYOUT.scales()), small);
                for t in 0..T {
                    let by = _mm256_mul_ps(d, _mm256_set1_ps(x[t][b].d));
                    sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[t]), by, sums[t]);
                }
            }
        }
    }
    sums
}

/// Columns of `BYTES` for eight rows, read by `load`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn float_tile<const T: usize, const BYTES: usize>(
    w: &[u8],
    x: [&[f32]; T],
    load: impl Fn(&[u8]) -> __m256,
) -> [__m256; T] {
    let mut sums = [_mm256_setzero_ps(); T];
    for (k, w) in w.as_chunks::<BYTES>().0.iter().enumerate() {
        let w = load(w);
        for t in 0..T {
            sums[t] = _mm256_fmadd_ps(_mm256_set1_ps(x[t][k]), w, sums[t]);
        }
    }
    sums
}
