//! Kernels of single rows: norms, activations, rotation, rounding.
//!
//! Bound: what they read and write lies in the first-level cache. Oracle: `scalar`, to the bit.

use std::arch::aarch64::*;

use gimbal_model::graph::Pair;

use super::vector::{Eight, all, exp, lanes, load_f32, load_four, maximum, total};
use crate::kernels::scalar::rotate_from;
use crate::kernels::table::{ActBlock, EXP_MIN, GELU, scale};
use crate::pack::{BLOCK, LANES};

/// `rows` rows of blocks side by side.
#[target_feature(enable = "neon")]
pub(in crate::kernels) fn quantise(x: &[f32], rows: usize, out: &mut [ActBlock]) {
    let cols = x.len() / rows;
    for (row, x) in x.chunks_exact(cols).enumerate() {
        let outs = out.iter_mut().skip(row).step_by(rows);
        for (x, out) in x.as_chunks::<BLOCK>().0.iter().zip(outs) {
            *out = quantised(x);
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn quantised(x: &[f32; BLOCK]) -> ActBlock {
    let mut most = all(0.0);
    for i in 0..BLOCK / LANES {
        let x = load_f32(x, i * LANES);
        for (most, x) in most.iter_mut().zip(x) {
            *most = vmaxnmq_f32(*most, vabsq_f32(x));
        }
    }
    let (d, by) = scale(maximum(most));
    let mut q = [0_i8; BLOCK];
    let mut minus = [0; 2];
    for (half, minus) in minus.iter_mut().enumerate() {
        let mut words = [vdupq_n_s16(0); 2];
        for (i, words) in words.iter_mut().enumerate() {
            let x = load_f32(x, (2 * half + i) * LANES);
            let whole = x.map(|x| rounded(vmulq_n_f32(x, by)));
            *words = vcombine_s16(vqmovn_s32(whole[0]), vqmovn_s32(whole[1]));
        }
        let bytes = vcombine_s8(vqmovn_s16(words[0]), vqmovn_s16(words[1]));
        *minus = -i32::from(vaddlvq_s8(bytes));
        // SAFETY: a half of `q` is 16 bytes; any alignment will do.
        unsafe { vst1q_s8(q[half * BLOCK / 2..][..BLOCK / 2].as_mut_ptr(), bytes) };
    }
    ActBlock { q, d, s: d * -(minus[0] + minus[1]) as f32, minus }
}

/// To the nearest whole number, of two the even one; what is no number becomes 0.
#[inline]
#[target_feature(enable = "neon")]
fn rounded(x: float32x4_t) -> int32x4_t {
    vcvtnq_s32_f32(x)
}

#[target_feature(enable = "neon")]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut sum = all(0.0);
    for x in x.as_chunks::<LANES>().0 {
        for (sum, x) in sum.iter_mut().zip(load_f32(x, 0)) {
            *sum = vfmaq_f32(*sum, x, x);
        }
    }
    let by = 1.0 / (total(sum) / x.len() as f32 + eps).sqrt();
    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
        *out = x * by * w;
    }
}

#[target_feature(enable = "neon")]
pub(super) fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.as_chunks_mut::<LANES>().0.iter_mut().zip(up.as_chunks::<LANES>().0) {
        let x = load_f32(gate, 0);
        *gate = lanes(times(gated(x, x), load_f32(up, 0)));
    }
}

#[target_feature(enable = "neon")]
pub(super) fn gelu_mul(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.as_chunks_mut::<LANES>().0.iter_mut().zip(up.as_chunks::<LANES>().0) {
        let x = load_f32(gate, 0);
        let inner = |x| vfmaq_f32(vdupq_n_f32(GELU.0), vmulq_f32(x, x), vdupq_n_f32(GELU.1));
        let twice = [vmulq_f32(x[0], inner(x[0])), vmulq_f32(x[1], inner(x[1]))];
        *gate = lanes(times(gated(x, twice), load_f32(up, 0)));
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn times(x: Eight, y: Eight) -> Eight {
    [vmulq_f32(x[0], y[0]), vmulq_f32(x[1], y[1])]
}

/// `x · sigmoid(t)`.
#[inline]
#[target_feature(enable = "neon")]
fn gated(x: Eight, t: Eight) -> Eight {
    let minus = [vnegq_f32(t[0]), vnegq_f32(t[1])];
    let most = vdupq_n_f32(-EXP_MIN);
    let e = exp([vminnmq_f32(minus[0], most), vminnmq_f32(minus[1], most)]);
    let one = vdupq_n_f32(1.0);
    [vdivq_f32(x[0], vaddq_f32(one, e[0])), vdivq_f32(x[1], vaddq_f32(one, e[1]))]
}

#[target_feature(enable = "neon")]
pub(super) fn to_f16(x: &[f32], out: &mut [[u8; 2]]) {
    for (x, out) in x.as_chunks::<4>().0.iter().zip(out.as_chunks_mut::<4>().0) {
        let half = vreinterpret_u8_f16(vcvt_f16_f32(clamped(load_four(x, 0))));
        // SAFETY: `out` is 8 bytes; any alignment will do.
        unsafe { vst1_u8(out.as_flattened_mut().as_mut_ptr(), half) };
    }
}

#[target_feature(enable = "neon")]
pub(super) fn add(row: &mut [f32], other: &[f32]) {
    let (rows, rest) = row.as_chunks_mut::<LANES>();
    let (others, other_rest) = other.as_chunks::<LANES>();
    for (row, other) in rows.iter_mut().zip(others) {
        let (x, y) = (load_f32(row, 0), load_f32(other, 0));
        *row = lanes([vaddq_f32(x[0], y[0]), vaddq_f32(x[1], y[1])]);
    }
    for (x, add) in rest.iter_mut().zip(other_rest) {
        *x += add;
    }
}

#[target_feature(enable = "neon")]
pub(super) fn rotate(head: &mut [f32], angles: &[[f32; 2]], pair: Pair) {
    let done = match pair {
        Pair::Adjacent => rotate_adjacent(head, angles),
        Pair::Halves => rotate_halves(head, angles),
    };
    rotate_from(done, head, angles, pair);
}

/// The cosines and the sines of four pairs.
#[inline]
#[target_feature(enable = "neon")]
fn turns(angles: &[[f32; 2]; 4]) -> (float32x4_t, float32x4_t) {
    // SAFETY: `angles` is 32 bytes, as many as are read; any alignment will do.
    let turns = unsafe { vld2q_f32(angles.as_ptr().cast()) };
    (turns.0, turns.1)
}

/// `a · cos - b · sin` and `a · sin + b · cos`.
#[inline]
#[target_feature(enable = "neon")]
fn turned(a: float32x4_t, b: float32x4_t, angles: &[[f32; 2]; 4]) -> [float32x4_t; 2] {
    let (cos, sin) = turns(angles);
    [
        vsubq_f32(vmulq_f32(a, cos), vmulq_f32(b, sin)),
        vaddq_f32(vmulq_f32(a, sin), vmulq_f32(b, cos)),
    ]
}

/// Four pairs at a time; returns how many pairs.
#[target_feature(enable = "neon")]
fn rotate_adjacent(head: &mut [f32], angles: &[[f32; 2]]) -> usize {
    let (heads, angles) = (head.as_chunks_mut::<LANES>().0, angles.as_chunks::<4>().0);
    for (x, angles) in heads.iter_mut().zip(angles) {
        // SAFETY: `x` is 32 bytes, as many as are read; any alignment will do.
        let pairs = unsafe { vld2q_f32(x.as_ptr()) };
        let [a, b] = turned(pairs.0, pairs.1, angles);
        // SAFETY: as above, of what is written.
        unsafe { vst2q_f32(x.as_mut_ptr(), float32x4x2_t(a, b)) };
    }
    angles.len() * 4
}

/// Four pairs at a time; returns how many pairs.
#[target_feature(enable = "neon")]
fn rotate_halves(head: &mut [f32], angles: &[[f32; 2]]) -> usize {
    let (first, second) = head[..2 * angles.len()].split_at_mut(angles.len());
    let firsts = first.as_chunks_mut::<4>().0.iter_mut();
    let seconds = second.as_chunks_mut::<4>().0.iter_mut();
    let angles = angles.as_chunks::<4>().0;
    for ((x, y), angles) in firsts.zip(seconds).zip(angles) {
        let [a, b] = turned(load_four(x, 0), load_four(y, 0), angles);
        // SAFETY: `x` is 16 bytes; any alignment will do.
        unsafe { vst1q_f32(x.as_mut_ptr(), a) };
        // SAFETY: as above, of `y`.
        unsafe { vst1q_f32(y.as_mut_ptr(), b) };
    }
    angles.len() * 4
}

#[target_feature(enable = "neon")]
pub(super) fn to_int8(x: &[f32], out: &mut [[u8; 1]]) -> f32 {
    let mut most = all(0.0);
    let x = x.as_chunks::<LANES>().0;
    for x in x {
        for (most, x) in most.iter_mut().zip(load_f32(x, 0)) {
            *most = vmaxnmq_f32(*most, vabsq_f32(clamped(x)));
        }
    }
    let (d, by) = scale(maximum(most));
    for (x, out) in x.iter().zip(out.as_chunks_mut::<LANES>().0) {
        let x = load_f32(x, 0);
        let whole = [0, 1].map(|i| vqmovn_s32(rounded(vmulq_n_f32(clamped(x[i]), by))));
        let bytes = vreinterpret_u8_s8(vqmovn_s16(vcombine_s16(whole[0], whole[1])));
        // SAFETY: `out` is 8 bytes; any alignment will do.
        unsafe { vst1_u8(out.as_flattened_mut().as_mut_ptr(), bytes) };
    }
    d
}

/// To what f16 holds; what is no number stays so.
#[inline]
#[target_feature(enable = "neon")]
fn clamped(x: float32x4_t) -> float32x4_t {
    vminq_f32(vmaxq_f32(x, vdupq_n_f32(-65504.0)), vdupq_n_f32(65504.0))
}
