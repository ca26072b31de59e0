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
use crate::kernels::{ActBlock, Acts, Linear};
use crate::pack::{BLOCK, LANES, Layout};

/// Rows of activations that stay in the second-level cache while weights stream past.
const ROWS_CACHED: usize = 96;
/// Blocks ahead of the current one to prefetch.
const PREFETCH: usize = 8;

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn linear_groups(task: &Linear<'_>) {
    macro_rules! by_type {
        ($($name:ident)+) => {
            match task.weight.dtype {
                // SAFETY: the caller owns the columns.
                $(DType::$name => unsafe { groups::<$name>(task) },)+
            }
        };
    }
    by_type!(F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4K Q5K Q6K);
}

/// A type known when its kernel is compiled.
trait Type {
    const DTYPE: DType;
    const LAYOUT: Layout = Layout::of(Self::DTYPE);
    const HAS_FIFTH: bool = matches!(Self::DTYPE, DType::Q5_0 | DType::Q5_1 | DType::Q5K);
}

macro_rules! types {
    ($($name:ident)+) => {$(
        #[allow(non_camel_case_types, reason = "the field's names")]
        struct $name;
        impl Type for $name {
            const DTYPE: DType = DType::$name;
        }
    )+};
}
types!(F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4K Q5K Q6K);

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
                let rows = rows_at_once::<W>(end - row);
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

/// Rows of the next tile where so many are left: as many as the registers hold, and no single row
/// after them if that can be.
const fn rows_at_once<W: Type>(left: usize) -> usize {
    let most = match W::DTYPE {
        // Of five bits, six rows spill: 298 GOP/s with four against 130.
        DType::Q5_0 | DType::Q5_1 | DType::Q5K => 4,
        DType::Q6K => 6,
        _ => 8,
    };
    match left {
        1..=4 => left,
        5 | 7 => 4,
        6 | 9 | 10 | 12 | 13 if most >= 6 => 6,
        _ => most,
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

/// Types of four and five bits: `m·s_x + (d·d_x)·Σq·q_x` a block.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn nibble_tile<const T: usize, W: Type>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let (low, bit) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
    let ones = _mm256_set1_epi16(1);
    let halves = if W::HAS_FIFTH { 2 } else { 1 };
    let mut sums = [_mm256_setzero_ps(); T];
    let x = cut(x, w.len() / W::LAYOUT.bytes * W::LAYOUT.blocks);
    for (s, w) in w.chunks_exact(W::LAYOUT.bytes).enumerate() {
        let blocks = w[..W::LAYOUT.scales()].chunks_exact(W::LAYOUT.block);
        for (i, block) in blocks.enumerate() {
            let b = s * W::LAYOUT.blocks + i;
            prefetch::<3>(block, PREFETCH * W::LAYOUT.block);
            let mut whole = [_mm256_setzero_si256(); T];
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
                sums[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x[t][b].s), sums[t]);
                let by = _mm256_mul_ps(d, _mm256_set1_ps(x[t][b].d));
                sums[t] = _mm256_fmadd_ps(_mm256_castsi256_ps(whole[t]), by, sums[t]);
            }
        }
    }
    sums
}

/// `T` rows from `row` on, each of `cols` elements.
#[inline]
fn rows_of<A, const T: usize>(acts: &[A], row: usize, cols: usize) -> [&[A]; T] {
    let mut rest = &acts[row * cols..][..T * cols];
    let mut rows = [&acts[..0]; T];
    for x in &mut rows {
        (*x, rest) = rest.split_at(cols);
    }
    rows
}

/// Rows of as many blocks as the weights have: the compiler need not look at each.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn cut<const T: usize>(mut x: [&[ActBlock]; T], blocks: usize) -> [&[ActBlock]; T] {
    for x in &mut x {
        *x = &x[..blocks];
    }
    x
}

/// `d` and `m` of a block of four or five bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn scales<W: Type>(w: &[u8], block: &[u8]) -> (__m256, __m256) {
    let (d, small) = (load_f16(w, W::LAYOUT.scales()), W::LAYOUT.quants);
    match W::DTYPE {
        DType::Q4_0 => (d, _mm256_mul_ps(d, _mm256_set1_ps(-8.0))),
        DType::Q5_0 => (d, _mm256_mul_ps(d, _mm256_set1_ps(-16.0))),
        DType::Q4_1 | DType::Q5_1 => (d, load_f16(w, W::LAYOUT.offsets())),
        _ => {
            let m = load_f16(w, W::LAYOUT.offsets());
            let (by, minus) = (load_u8(block, small), load_u8(block, small + LANES));
            (_mm256_mul_ps(d, by), _mm256_mul_ps(m, minus))
        }
    }
}

/// `Q8_0`: `(d·d_x)·Σq·q_x` a block.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn byte_tile<const T: usize>(w: &[u8], x: [&[ActBlock]; T]) -> [__m256; T] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); T];
    let x = cut(x, w.len() / Q8_0::LAYOUT.bytes);
    for (b, w) in w.chunks_exact(Q8_0::LAYOUT.bytes).enumerate() {
        prefetch::<5>(w, PREFETCH * Q8_0::LAYOUT.bytes);
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
        let d = load_f16(w, Q8_0::LAYOUT.scales());
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
    const LAYOUT: Layout = Q6K::LAYOUT;
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
