//! Kernels of single rows: norms, activations, rotation, rounding.
//!
//! Bound: what they read and write lies in the first-level cache. Oracle: `scalar`, to the bit.

use std::arch::x86_64::*;

use gimbal_model::graph::Pair;

use super::vector::{exp, lanes, load_f32, maximum, total};
use crate::kernels::scalar::rotate_from;
use crate::kernels::table::{ActBlock, EXP_MIN, GELU, scale};
use crate::pack::{BLOCK, LANES};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise(x: &[f32], out: &mut [ActBlock]) {
    let sign = _mm256_set1_ps(-0.0);
    for (x, out) in x.as_chunks::<BLOCK>().0.iter().zip(out) {
        // Loops rather than closures, into which the features do not reach.
        let mut whole = [_mm256_setzero_si256(); 4];
        let mut most = _mm256_setzero_ps();
        for i in 0..4 {
            most = _mm256_max_ps(most, _mm256_andnot_ps(sign, load_f32(x, i * LANES)));
        }
        let most = maximum(most);
        let (d, by) = scale(most);
        let by = _mm256_set1_ps(by);
        for (i, whole) in whole.iter_mut().enumerate() {
            *whole = _mm256_cvtps_epi32(_mm256_mul_ps(load_f32(x, i * LANES), by));
        }
        let low = _mm256_packs_epi32(whole[0], whole[1]);
        let high = _mm256_packs_epi32(whole[2], whole[3]);
        let bytes = _mm256_packs_epi16(low, high);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        // SAFETY: `q` is 32 bytes; an unaligned store has no other precondition.
        unsafe { _mm256_storeu_si256(out.q.as_mut_ptr().cast(), bytes) };
        let sums = [_mm256_add_epi32(whole[0], whole[1]), _mm256_add_epi32(whole[2], whole[3])];
        // What is not finite wraps; its row is refused for its logits.
        let [first, second] = sums.map(|sum| whole_total(sum));
        out.minus = [first.wrapping_neg(), second.wrapping_neg()];
        out.d = d;
        out.s = d * first.wrapping_add(second) as f32;
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn whole_total(v: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0x4e>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0xb1>(two)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut sum = _mm256_setzero_ps();
    for x in x.as_chunks::<LANES>().0 {
        let x = load_f32(x, 0);
        sum = _mm256_fmadd_ps(x, x, sum);
    }
    let by = 1.0 / (total(sum) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * by * w;
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.as_chunks_mut::<LANES>().0.iter_mut().zip(up.as_chunks::<LANES>().0) {
        let x = load_f32(gate, 0);
        *gate = lanes(_mm256_mul_ps(gated(x, x), load_f32(up, 0)));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gelu_mul(gate: &mut [f32], up: &[f32]) {
    let (first, third) = (_mm256_set1_ps(GELU.0), _mm256_set1_ps(GELU.1));
    for (gate, up) in gate.as_chunks_mut::<LANES>().0.iter_mut().zip(up.as_chunks::<LANES>().0) {
        let x = load_f32(gate, 0);
        let twice = _mm256_mul_ps(x, _mm256_fmadd_ps(_mm256_mul_ps(x, x), third, first));
        *gate = lanes(_mm256_mul_ps(gated(x, twice), load_f32(up, 0)));
    }
}

/// `x · sigmoid(t)`.
#[target_feature(enable = "avx2,fma,f16c")]
fn gated(x: __m256, t: __m256) -> __m256 {
    let minus = _mm256_xor_ps(t, _mm256_set1_ps(-0.0));
    let minus = _mm256_min_ps(minus, _mm256_set1_ps(-EXP_MIN));
    _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0), exp(minus)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn to_f16(x: &[f32], out: &mut [[u8; 2]]) {
    let (least, most) = (_mm256_set1_ps(-65504.0), _mm256_set1_ps(65504.0));
    for (x, out) in x.as_chunks::<LANES>().0.iter().zip(out.as_chunks_mut::<LANES>().0) {
        let x = _mm256_min_ps(_mm256_max_ps(load_f32(x, 0), least), most);
        let half = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
        // SAFETY: `out` is 16 bytes; an unaligned store has no other precondition.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), half) };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add(row: &mut [f32], other: &[f32]) {
    let (rows, rest) = row.as_chunks_mut::<LANES>();
    let (others, other_rest) = other.as_chunks::<LANES>();
    for (row, other) in rows.iter_mut().zip(others) {
        *row = lanes(_mm256_add_ps(load_f32(row, 0), load_f32(other, 0)));
    }
    for (x, add) in rest.iter_mut().zip(other_rest) {
        *x += add;
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn rotate(head: &mut [f32], angles: &[[f32; 2]], pair: Pair) {
    let done = match pair {
        Pair::Adjacent => rotate_adjacent(head, angles.as_flattened()),
        Pair::Halves => rotate_halves(head, angles),
    };
    rotate_from(done, head, angles, pair);
}

/// Four pairs to a vector, their cosines and sines as they lie; returns how many pairs.
#[target_feature(enable = "avx2,fma,f16c")]
fn rotate_adjacent(head: &mut [f32], angles: &[f32]) -> usize {
    let (heads, angles) = (head.as_chunks_mut::<LANES>().0, angles.as_chunks::<LANES>().0);
    for (x, angles) in heads.iter_mut().zip(angles) {
        let (pairs, angles) = (load_f32(x, 0), load_f32(angles, 0));
        let turned = _mm256_permute_ps::<0b10_11_00_01>(pairs);
        let (cos, sin) = (_mm256_moveldup_ps(angles), _mm256_movehdup_ps(angles));
        // Subtracts in even columns, adds in odd ones.
        *x = lanes(_mm256_addsub_ps(_mm256_mul_ps(pairs, cos), _mm256_mul_ps(turned, sin)));
    }
    angles.len() * LANES / 2
}

/// Eight pairs to two vectors; returns how many pairs.
#[target_feature(enable = "avx2,fma,f16c")]
fn rotate_halves(head: &mut [f32], angles: &[[f32; 2]]) -> usize {
    let (first, second) = head[..2 * angles.len()].split_at_mut(angles.len());
    let firsts = first.as_chunks_mut::<LANES>().0.iter_mut();
    let seconds = second.as_chunks_mut::<LANES>().0.iter_mut();
    let angles = angles.as_chunks::<LANES>().0;
    for ((x, y), angles) in firsts.zip(seconds).zip(angles) {
        let angles = angles.as_flattened();
        let (low, high) = (load_f32(angles, 0), load_f32(angles, LANES));
        // Pairs of lanes 0 1 4 5 2 3 6 7, put in order.
        let cos = in_order(_mm256_shuffle_ps::<0b10_00_10_00>(low, high));
        let sin = in_order(_mm256_shuffle_ps::<0b11_01_11_01>(low, high));
        let (a, b) = (load_f32(x, 0), load_f32(y, 0));
        *x = lanes(_mm256_sub_ps(_mm256_mul_ps(a, cos), _mm256_mul_ps(b, sin)));
        *y = lanes(_mm256_add_ps(_mm256_mul_ps(a, sin), _mm256_mul_ps(b, cos)));
    }
    angles.len() * LANES
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn in_order(v: __m256) -> __m256 {
    _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v)))
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn to_int8(x: &[f32], out: &mut [[u8; 1]]) -> f32 {
    let sign = _mm256_set1_ps(-0.0);
    let mut most = _mm256_setzero_ps();
    let x = x.as_chunks::<LANES>().0;
    for x in x {
        // In this order what is no number is left out.
        most = _mm256_max_ps(_mm256_andnot_ps(sign, clamped(load_f32(x, 0))), most);
    }
    let (d, by) = scale(maximum(most));
    let by = _mm256_set1_ps(by);
    for (x, out) in x.iter().zip(out.as_chunks_mut::<LANES>().0) {
        let x = clamped(load_f32(x, 0));
        let number = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_ORD_Q>(x, x));
        let whole = _mm256_and_si256(_mm256_cvtps_epi32(_mm256_mul_ps(x, by)), number);
        let (low, high) = (_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
        let words = _mm_packs_epi32(low, high);
        let bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words)).to_le_bytes();
        out.as_flattened_mut().copy_from_slice(&bytes);
    }
    d
}

/// To what f16 holds; what is no number stays so.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn clamped(x: __m256) -> __m256 {
    let (least, most) = (_mm256_set1_ps(-65504.0), _mm256_set1_ps(65504.0));
    _mm256_min_ps(most, _mm256_max_ps(least, x))
}
