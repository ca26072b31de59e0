//! `x · Wᵀ`: a weight group is read once for a tile of up to six rows of activations.
//!
//! `maddubs` of nibbles and int8 stays within int16 over a whole block (16 · 15 · 127 = 30 480), so
//! one `madd` a block suffices. Bytes: 5.0 bits a weight for `U4`, 6 for `U4Wide`, 8.5 for `I8`, 10
//! for `I8Wide` and `I8Halves`. Bound: memory at 1 row, the arithmetic of `peak` from about 8 rows on
//! (nibbles reach 73 % of it, int8 79 %; Zen 3, 2026-11). Oracle: `scalar`, to the bit.

use std::arch::x86_64::*;

use super::vector::{broadcast, hidden, lanes, load, load_bf16, load_f16, load_wide, prefetch};
use crate::kernels::scalar::row_of;
use crate::kernels::{ActBlock, Acts, Linear};
use crate::pack::{BLOCK, Family, I8_BYTES, I8_WIDE_BYTES, U4_BYTES, U4_WIDE_BYTES};

/// Rows of activations that stay in the second-level cache while weights stream past.
const ROWS_CACHED: usize = 96;
/// Bytes ahead of the current weight block to prefetch: eight blocks.
const PREFETCH: usize = 1280;

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn linear_groups(task: &Linear<'_>) {
    let mut first = 0;
    while first < task.rows {
        let end = (first + ROWS_CACHED).min(task.rows);
        for g in task.groups.clone() {
            let mut row = first;
            while row < end {
                // Six at a time, but 7 and 8 split as 4 + 3 and 4 + 4.
                let rows = match end - row {
                    n @ (1..=4 | 6) => n,
                    5 | 7 | 8 => 4,
                    _ => 6,
                };
                let (acts, out) = (task.acts, &task.out);
                let x = Rows { acts, row, cols: task.weight.cols };
                let w = task.weight.group(g);
                macro_rules! tile {
                    ($t:literal) => {
                        for (t, sums) in
                            tile::<$t>(task.weight.family, w, x).into_iter().enumerate()
                        {
                            // SAFETY: the caller owns the columns of these groups.
                            unsafe { out.put(row + t, g, lanes(sums)) };
                        }
                    };
                }
                match rows {
                    1 => tile!(1),
                    2 => tile!(2),
                    3 => tile!(3),
                    4 => tile!(4),
                    _ => tile!(6),
                }
                row += rows;
            }
        }
        first = end;
    }
}

/// Rows of activations from `row` on.
#[derive(Clone, Copy)]
struct Rows<'a> {
    acts: Acts<'a>,
    row: usize,
    cols: usize,
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn tile<const T: usize>(family: Family, w: &[u8], x: Rows<'_>) -> [__m256; T] {
    match (family, x.acts) {
        (family, Acts::Blocks(acts)) if family.is_quantised() => {
            let mut rows: [&[ActBlock]; T] = [&[]; T];
            for (t, row) in rows.iter_mut().enumerate() {
                *row = row_of(acts, x.row + t, x.cols / BLOCK);
            }
            let x = rows;
            match family {
                Family::U4 => u4_tile::<T, U4_BYTES>(w, x),
                Family::U4Wide => u4_tile::<T, U4_WIDE_BYTES>(w, x),
                Family::I8 => i8_tile::<T, I8_BYTES>(w, x),
                Family::I8Wide => i8_tile::<T, I8_WIDE_BYTES>(w, x),
                _ => i8_halves_tile(w, x),
            }
        }
        (family, Acts::Floats(acts)) if !family.is_quantised() => {
            let mut rows: [&[f32]; T] = [&[]; T];
            for (t, row) in rows.iter_mut().enumerate() {
                *row = row_of(acts, x.row + t, x.cols);
            }
            let x = rows;
            match family {
                Family::F16 => float_tile::<T, 16>(w, x, |w| load_f16(w, 0)),
                Family::BF16 => float_tile::<T, 16>(w, x, |w| load_bf16(w, 0)),
                _ => float_tile::<T, 32>(w, x, |w| load_wide(w, 0)),
            }
        }
        (family, _) => panic!("activations do not fit {family:?}"),
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn u4_tile<const T: usize, const BYTES: usize>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let mut sums = [_mm256_setzero_ps(); T];
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    for (b, w) in w.as_chunks::<BYTES>().0.iter().enumerate() {
        prefetch::<3>(w, PREFETCH);
        let mut whole = [_mm256_setzero_si256(); T];
        for v in 0..4 {
            let packed = load(w, v * 32);
            let (lo, hi) = (
                _mm256_and_si256(packed, low),
                _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low),
            );
            for t in 0..T {
                let q = &x[t][b].q;
                let lo = _mm256_maddubs_epi16(lo, broadcast(q, v * 4));
                let hi = _mm256_maddubs_epi16(hi, broadcast(q, 16 + v * 4));
                // The compiler's own order, row by row, spills: 317 GOP/s against 355.
                whole[t] = hidden(_mm256_add_epi16(whole[t], _mm256_add_epi16(lo, hi)));
            }
        }
        let (d, m) = match BYTES {
            U4_BYTES => (load_f16(w, 128), load_f16(w, 144)),
            _ => (load_wide(w, 128), load_wide(w, 160)),
        };
        for t in 0..T {
            let x = &x[t][b];
            let whole = _mm256_cvtepi32_ps(_mm256_madd_epi16(whole[t], ones));
            sums[t] = _mm256_fmadd_ps(whole, _mm256_mul_ps(d, _mm256_set1_ps(x.d)), sums[t]);
            sums[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x.s), sums[t]);
        }
    }
    sums
}

/// `Σ q_w·q_x` of eight rows over block `b`'s columns of `VECTORS` vectors from `first` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn i8_whole<const T: usize, const VECTORS: usize>(
    w: &[u8],
    x: [&[ActBlock]; T],
    b: usize,
    first: usize,
) -> [__m256i; T] {
    let ones = _mm256_set1_epi16(1);
    let mut whole = [_mm256_setzero_si256(); T];
    for v in first..first + VECTORS {
        let signed = load(w, v * 32);
        let size = _mm256_abs_epi8(signed);
        for t in 0..T {
            let x = _mm256_sign_epi8(broadcast(&x[t][b].q, v * 4), signed);
            let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(size, x), ones);
            whole[t] = hidden(_mm256_add_epi32(whole[t], pairs));
        }
    }
    whole
}

/// Both widths of scales; only the wide one has offsets.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn i8_tile<const T: usize, const BYTES: usize>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let mut sums = [_mm256_setzero_ps(); T];
    for (b, w) in w.as_chunks::<BYTES>().0.iter().enumerate() {
        prefetch::<5>(w, 2 * PREFETCH);
        let whole = i8_whole::<T, 8>(w, x, b, 0);
        let (d, m) = match BYTES {
            I8_BYTES => (load_f16(w, 256), None),
            _ => (load_wide(w, 256), Some(load_wide(w, 288))),
        };
        for t in 0..T {
            let x = &x[t][b];
            let by = _mm256_mul_ps(d, _mm256_set1_ps(x.d));
            sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[t]), by, sums[t]);
            if let Some(m) = m {
                sums[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x.s), sums[t]);
            }
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn i8_halves_tile<const T: usize>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let mut sums = [_mm256_setzero_ps(); T];
    for (b, w) in w.as_chunks::<I8_WIDE_BYTES>().0.iter().enumerate() {
        prefetch::<5>(w, 2 * PREFETCH);
        for half in 0..2 {
            let whole = i8_whole::<T, 4>(w, x, b, 4 * half);
            let d = load_wide(w, 256 + 32 * half);
            for t in 0..T {
                let by = _mm256_mul_ps(d, _mm256_set1_ps(x[t][b].d));
                sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole[t]), by, sums[t]);
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
