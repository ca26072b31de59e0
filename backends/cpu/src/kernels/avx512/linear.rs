//! `x · Wᵀ`: a weight group of sixteen rows is read once for a tile of up to eight rows of
//! activations.
//!
//! `dpbusd` multiplies integers from 0 up with int8 and adds four products in int32: at most
//! 32 · 255 · 127, exact. Integers that are lifted to 0 begin with what their lift adds, taken off.
//! Bytes: those of the file. Bound: memory at 1 row, the arithmetic of `peak` from about 8 rows on.
//! Oracle: `scalar`, to the bit.

use std::arch::x86_64::*;

use gimbal_model::weights::DType;

use super::vector::{WIDE, lanes, load, load_bf16, load_f16, load_i8, load_u8, load_wide};
use crate::kernels::avx2::vector::prefetch;
use crate::kernels::table::{ActBlock, Acts, Linear};
use crate::kernels::tile::{PREFETCH, Q6K, Q8_0, ROWS_CACHED, Rows, Type};
use crate::kernels::tile::{by_type, cut, rows_at_once, rows_of};
use crate::pack::{BLOCK, Layout, lifted};

/// Rows of activations that the registers hold.
const MOST: usize = 8;

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn linear_groups(task: &Linear<'_>) {
    // SAFETY: as the caller promises.
    unsafe { by_type!(groups, task) }
}

/// # Safety
/// - The caller owns the output columns of the task's groups.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn groups<W: Type>(task: &Linear<'_>) {
    let (mut first, block) = (0, W::SIXTEEN.bytes / W::SIXTEEN.blocks);
    while first < task.rows {
        let end = (first + ROWS_CACHED).min(task.rows);
        for g in task.groups.clone() {
            let w = task.weight.group(g);
            let mut row = first;
            while row < end {
                let rows = rows_at_once(end - row, MOST);
                let ahead = ahead(w.len(), block, row - first, end - row - rows);
                let x = Rows { acts: task.acts, row, cols: task.weight.cols };
                macro_rules! tile {
                    ($t:literal) => {{
                        let sums = tile::<$t, W>(w, x, ahead);
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

/// Bytes ahead to prefetch during a tile with so many rows before it and after it, for a group of so
/// many bytes: where the group is read again, the next one is fetched meanwhile, so that memory works
/// while arithmetic does.
const fn ahead(group: usize, block: usize, before: usize, after: usize) -> usize {
    match (before, after) {
        (0, 0) => PREFETCH * block,
        // The first tile finds what the second one fetched.
        (0, _) => 0,
        _ => group,
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile<const T: usize, W: Type>(w: &[u8], x: Rows<'_>, ahead: usize) -> [__m512; T] {
    match x.acts {
        Acts::Blocks(acts) if W::DTYPE.is_quantised() => {
            let rows = rows_of(acts, x.row, x.cols / BLOCK);
            match W::DTYPE {
                DType::Q8_0 => byte_tile(w, rows, ahead),
                DType::Q6K => six_tile(w, rows, ahead),
                _ => nibble_tile::<T, W>(w, rows, ahead),
            }
        }
        Acts::Floats(acts) if !W::DTYPE.is_quantised() => {
            let rows = rows_of(acts, x.row, x.cols);
            match W::DTYPE {
                DType::F16 => float_tile::<T, 32>(w, rows, |w| load_f16(w, 0)),
                DType::BF16 => float_tile::<T, 32>(w, rows, |w| load_bf16(w, 0)),
                _ => float_tile::<T, 64>(w, rows, |w| load_wide(w, 0)),
            }
        }
        _ => panic!("activations do not fit {:?}", W::DTYPE),
    }
}

/// Types of four and five bits: `(d·d_x)·Σq·q_x` a block and, where there are offsets, `m·s_x`
/// before it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn nibble_tile<const T: usize, W: Type>(
    w: &[u8],
    x: [&[ActBlock]; T],
    ahead: usize,
) -> [__m512; T] {
    let (low, bit) = (_mm512_set1_epi8(15), _mm512_set1_epi8(16));
    let mut sums = [_mm512_setzero_ps(); T];
    let x = cut(x, w.len() / W::SIXTEEN.bytes * W::SIXTEEN.blocks);
    for (s, w) in w.chunks_exact(W::SIXTEEN.bytes).enumerate() {
        let blocks = w[..W::SIXTEEN.scales()].chunks_exact(W::SIXTEEN.block);
        for (i, block) in blocks.enumerate() {
            let b = s * W::SIXTEEN.blocks + i;
            prefetch::<5>(block, ahead);
            let mut whole = [_mm512_setzero_si512(); T];
            if !W::DTYPE.has_offset() {
                for t in 0..T {
                    let sum = _mm512_add_epi32(half(&x[t][b], 0), half(&x[t][b], 1));
                    whole[t] = _mm512_mullo_epi32(sum, _mm512_set1_epi32(lifted(W::DTYPE).into()));
                }
            }
            let mut fifth = if W::HAS_FIFTH { load(block, 256) } else { bit };
            for v in 0..4 {
                let packed = load(block, v * 64);
                let mut lo = _mm512_and_si512(packed, low);
                let mut hi = _mm512_and_si512(_mm512_srli_epi16::<4>(packed), low);
                if W::HAS_FIFTH {
                    // Bits 0 and 4 are this vector's; no neighbouring byte's comes that far.
                    let first = _mm512_and_si512(_mm512_slli_epi16::<4>(fifth), bit);
                    lo = _mm512_or_si512(lo, first);
                    hi = _mm512_or_si512(hi, _mm512_and_si512(fifth, bit));
                    fifth = _mm512_srli_epi16::<1>(fifth);
                }
                for t in 0..T {
                    whole[t] = _mm512_dpbusd_epi32(whole[t], lo, four(&x[t][b].q, v * 4));
                }
                for t in 0..T {
                    whole[t] = _mm512_dpbusd_epi32(whole[t], hi, four(&x[t][b].q, 16 + v * 4));
                }
            }
            let (d, m) = scales::<W>(w, block);
            for t in 0..T {
                if let Some(m) = m {
                    sums[t] = _mm512_fmadd_ps(m, _mm512_set1_ps(x[t][b].s), sums[t]);
                }
                sums[t] = scaled(whole[t], d, &x[t][b], sums[t]);
            }
        }
    }
    sums
}

/// `sum + whole · (d · d_x)`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn scaled(whole: __m512i, d: __m512, x: &ActBlock, sum: __m512) -> __m512 {
    let by = _mm512_mul_ps(d, _mm512_set1_ps(x.d));
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), by, sum)
}

/// Four activations from `at` in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn four(q: &[i8; BLOCK], at: usize) -> __m512i {
    let four = [q[at], q[at + 1], q[at + 2], q[at + 3]].map(i8::cast_unsigned);
    _mm512_set1_epi32(i32::from_ne_bytes(four))
}

/// `-Σq` of a half of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn half(x: &ActBlock, half: usize) -> __m512i {
    _mm512_set1_epi32(x.minus[half])
}

/// `d` and `m` of a block of four or five bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn scales<W: Type>(w: &[u8], block: &[u8]) -> (__m512, Option<__m512>) {
    let (d, small) = (load_f16(w, W::SIXTEEN.scales()), W::SIXTEEN.quants);
    match W::DTYPE {
        DType::Q4_0 | DType::Q5_0 => (d, None),
        DType::Q4_1 | DType::Q5_1 => (d, Some(load_f16(w, W::SIXTEEN.offsets()))),
        _ => {
            let m = load_f16(w, W::SIXTEEN.offsets());
            let (by, minus) = (load_u8(block, small), load_u8(block, small + WIDE));
            (_mm512_mul_ps(d, by), Some(_mm512_mul_ps(m, minus)))
        }
    }
}

/// `Q8_0`: `(d·d_x)·Σq·q_x` a block; `q + 128` is what `dpbusd` takes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn byte_tile<const T: usize>(w: &[u8], x: [&[ActBlock]; T], ahead: usize) -> [__m512; T] {
    let flip = _mm512_set1_epi8(i8::MIN);
    let mut sums = [_mm512_setzero_ps(); T];
    let x = cut(x, w.len() / Q8_0::SIXTEEN.bytes);
    for (b, w) in w.chunks_exact(Q8_0::SIXTEEN.bytes).enumerate() {
        prefetch::<9>(w, ahead);
        let mut whole = [_mm512_setzero_si512(); T];
        for t in 0..T {
            let sum = _mm512_add_epi32(half(&x[t][b], 0), half(&x[t][b], 1));
            whole[t] = _mm512_slli_epi32::<7>(sum);
        }
        for v in 0..8 {
            let lifted = _mm512_xor_si512(load(w, v * 64), flip);
            for t in 0..T {
                whole[t] = _mm512_dpbusd_epi32(whole[t], lifted, four(&x[t][b].q, v * 4));
            }
        }
        let d = load_f16(w, Q8_0::SIXTEEN.scales());
        for t in 0..T {
            sums[t] = scaled(whole[t], d, &x[t][b], sums[t]);
        }
    }
    sums
}

/// `Q6_K`: `(d·d_x)·Σq·q_x` every 16 columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn six_tile<const T: usize>(w: &[u8], x: [&[ActBlock]; T], ahead: usize) -> [__m512; T] {
    const LAYOUT: Layout = Q6K::SIXTEEN;
    let (low, upper) = (_mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
    let lift = _mm512_set1_epi32(lifted(DType::Q6K).into());
    let mut sums = [_mm512_setzero_ps(); T];
    let x = cut(x, w.len() / LAYOUT.bytes * LAYOUT.blocks);
    for (s, w) in w.chunks_exact(LAYOUT.bytes).enumerate() {
        let scales = load_f16(w, LAYOUT.scales());
        let blocks = w[..LAYOUT.scales()].chunks_exact(LAYOUT.block);
        for (i, block) in blocks.enumerate() {
            let b = s * LAYOUT.blocks + i;
            prefetch::<7>(block, ahead);
            for side in 0..2 {
                let mut two = load(block, 256 + 64 * side);
                let mut whole = [_mm512_setzero_si512(); T];
                for t in 0..T {
                    whole[t] = _mm512_mullo_epi32(half(&x[t][b], side), lift);
                }
                for v in 0..4 {
                    let packed = load(block, v * 64);
                    let four_bits = if side == 0 { packed } else { _mm512_srli_epi16::<4>(packed) };
                    let above = _mm512_and_si512(_mm512_slli_epi16::<4>(two), upper);
                    two = _mm512_srli_epi16::<2>(two);
                    let six = _mm512_or_si512(_mm512_and_si512(four_bits, low), above);
                    for t in 0..T {
                        let x = four(&x[t][b].q, 16 * side + v * 4);
                        whole[t] = _mm512_dpbusd_epi32(whole[t], six, x);
                    }
                }
                let d = _mm512_mul_ps(scales, load_i8(block, LAYOUT.quants + WIDE * side));
                for t in 0..T {
                    sums[t] = scaled(whole[t], d, &x[t][b], sums[t]);
                }
            }
        }
    }
    sums
}

/// Columns of `BYTES` for sixteen rows, read by `load`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn float_tile<const T: usize, const BYTES: usize>(
    w: &[u8],
    x: [&[f32]; T],
    load: impl Fn(&[u8]) -> __m512,
) -> [__m512; T] {
    let mut sums = [_mm512_setzero_ps(); T];
    for (k, w) in w.as_chunks::<BYTES>().0.iter().enumerate() {
        let w = load(w);
        for t in 0..T {
            sums[t] = _mm512_fmadd_ps(_mm512_set1_ps(x[t][k]), w, sums[t]);
        }
    }
    sums
}
