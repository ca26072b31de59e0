//! Eight lanes in two vectors: loads, folds, `exp`. What the kernels of this folder share.

use std::arch::aarch64::*;

use crate::kernels::table::{EXP, EXP_MIN, LN2};
use crate::pack::LANES;

/// Eight lanes: the scalar kernels sum in as many.
pub(super) type Eight = [float32x4_t; 2];

/// The same value in all lanes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn all(x: f32) -> Eight {
    [vdupq_n_f32(x); 2]
}

/// `scalar::exp` in four lanes.
#[inline]
#[target_feature(enable = "neon")]
fn exp_four(x: float32x4_t) -> float32x4_t {
    let x = vmaxnmq_f32(x, vdupq_n_f32(EXP_MIN));
    let n = vrndnq_f32(vmulq_f32(x, vdupq_n_f32(std::f32::consts::LOG2_E)));
    let r = vfmsq_f32(x, n, vdupq_n_f32(LN2.0));
    let r = vfmsq_f32(r, n, vdupq_n_f32(LN2.1));
    let mut poly = vdupq_n_f32(EXP[0]);
    for c in &EXP[1..] {
        poly = vfmaq_f32(vdupq_n_f32(*c), poly, r);
    }
    let y = vfmaq_f32(vaddq_f32(r, vdupq_n_f32(1.0)), poly, vmulq_f32(r, r));
    let power = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
    vmulq_f32(y, vreinterpretq_f32_s32(vshlq_n_s32::<23>(power)))
}

/// `scalar::exp` in eight lanes.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn exp(x: Eight) -> Eight {
    [exp_four(x[0]), exp_four(x[1])]
}

/// The sum of eight lanes in the order of `scalar::total`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn total(v: Eight) -> f32 {
    let four = vaddq_f32(v[0], v[1]);
    vaddv_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)))
}

/// The largest lane; what is no number is left out.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn maximum(v: Eight) -> f32 {
    vmaxnmvq_f32(vmaxnmq_f32(v[0], v[1]))
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn lanes(v: Eight) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    // SAFETY: `out` is 32 bytes, and so is what is stored; any alignment will do.
    unsafe { vst1q_f32_x2(out.as_mut_ptr(), float32x4x2_t(v[0], v[1])) };
    out
}

/// 16 bytes at `at`.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::kernels) fn load(bytes: &[u8], at: usize) -> uint8x16_t {
    let bytes = &bytes[at..at + 16];
    // SAFETY: `bytes` is 16 bytes; any alignment will do.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// Four f32 from element `at`.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::kernels) fn load_four(values: &[f32], at: usize) -> float32x4_t {
    let values = &values[at..at + 4];
    // SAFETY: `values` is 16 bytes; any alignment will do.
    unsafe { vld1q_f32(values.as_ptr()) }
}

/// Eight f32 from element `at`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_f32(values: &[f32], at: usize) -> Eight {
    let values = &values[at..at + LANES];
    [load_four(values, 0), load_four(values, 4)]
}

/// Eight f32 at byte `at`.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_wide(bytes: &[u8], at: usize) -> Eight {
    let bytes = &bytes[at..at + 32];
    [vreinterpretq_f32_u8(load(bytes, 0)), vreinterpretq_f32_u8(load(bytes, 16))]
}

/// Eight f16 at byte `at`, as f32.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_f16(bytes: &[u8], at: usize) -> Eight {
    let halves = vreinterpretq_f16_u8(load(bytes, at));
    [vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)]
}

/// Four f16 at byte `at`, as f32.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::kernels) fn load_four_f16(bytes: &[u8], at: usize) -> float32x4_t {
    vcvt_f32_f16(vreinterpret_f16_u8(load_eight(bytes, at)))
}

/// Eight bf16 at byte `at`, as f32.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_bf16(bytes: &[u8], at: usize) -> Eight {
    let halves = vreinterpretq_u16_u8(load(bytes, at));
    let low = vshll_n_u16::<16>(vget_low_u16(halves));
    [vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(vshll_high_n_u16::<16>(halves))]
}

/// Eight int8 at `at`, as f32.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_i8(bytes: &[u8], at: usize) -> Eight {
    let words = vmovl_s8(vreinterpret_s8_u8(load_eight(bytes, at)));
    let low = vmovl_s16(vget_low_s16(words));
    [vcvtq_f32_s32(low), vcvtq_f32_s32(vmovl_high_s16(words))]
}

/// 8 bytes at `at`.
#[inline]
#[target_feature(enable = "neon")]
fn load_eight(bytes: &[u8], at: usize) -> uint8x8_t {
    let bytes = &bytes[at..at + 8];
    // SAFETY: `bytes` is 8 bytes; any alignment will do.
    unsafe { vld1_u8(bytes.as_ptr()) }
}
