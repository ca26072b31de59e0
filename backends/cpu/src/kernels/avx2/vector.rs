//! Eight lanes: loads, folds, `exp`. What the kernels of this folder share.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::kernels::table::{EXP, EXP_MIN, LN2};
use crate::pack::{BLOCK, LANES};

/// `scalar::exp` in eight lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn exp(x: __m256) -> __m256 {
    let x = _mm256_max_ps(x, _mm256_set1_ps(EXP_MIN));
    let scaled = _mm256_mul_ps(x, _mm256_set1_ps(std::f32::consts::LOG2_E));
    let n = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(scaled);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN2.0), x);
    let r = _mm256_fnmadd_ps(n, _mm256_set1_ps(LN2.1), r);
    let mut poly = _mm256_set1_ps(EXP[0]);
    for c in &EXP[1..] {
        poly = _mm256_fmadd_ps(poly, r, _mm256_set1_ps(*c));
    }
    let y = _mm256_fmadd_ps(poly, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0)));
    let power = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_mul_ps(y, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(power)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::kernels) fn total(v: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn maximum(v: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn lanes(v: __m256) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    // SAFETY: `out` is 32 bytes; an unaligned store has no other precondition.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
    out
}

/// 32 bytes at `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load(bytes: &[u8], at: usize) -> __m256i {
    let bytes = &bytes[at..at + 32];
    // SAFETY: `bytes` is 32 bytes; an unaligned load has no other precondition.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Eight f32 at byte `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_wide(bytes: &[u8], at: usize) -> __m256 {
    _mm256_castsi256_ps(load(bytes, at))
}

/// Eight bf16 at byte `at`, as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_bf16(bytes: &[u8], at: usize) -> __m256 {
    let bytes = &bytes[at..at + 16];
    // SAFETY: `bytes` is 16 bytes; an unaligned load has no other precondition.
    let halves = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
}

/// Eight f16 at byte `at`, as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_f16(bytes: &[u8], at: usize) -> __m256 {
    let bytes = &bytes[at..at + 16];
    // SAFETY: `bytes` is 16 bytes; an unaligned load has no other precondition.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Eight bytes at `at`, as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_u8(bytes: &[u8], at: usize) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_eight(bytes, at)))
}

/// Eight int8 at `at`, as f32.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_i8(bytes: &[u8], at: usize) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_eight(bytes, at)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_eight(bytes: &[u8], at: usize) -> __m128i {
    let bytes = &bytes[at..at + 8];
    // SAFETY: `bytes` is 8 bytes; an unaligned load has no other precondition.
    unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) }
}

/// Eight f32 from element `at`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn load_f32(values: &[f32], at: usize) -> __m256 {
    let values = &values[at..at + LANES];
    // SAFETY: `values` is 32 bytes; an unaligned load has no other precondition.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

/// Four activations from `at` in every lane of four bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn broadcast(q: &[i8; BLOCK], at: usize) -> __m256i {
    let four = [q[at], q[at + 1], q[at + 2], q[at + 3]].map(i8::cast_unsigned);
    _mm256_set1_epi32(i32::from_ne_bytes(four))
}

/// Prefetches `LINES` cache lines `ahead` bytes after `w`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::kernels) fn prefetch<const LINES: usize>(w: &[u8], ahead: usize) {
    for line in 0..LINES {
        let address = w.as_ptr().wrapping_add(ahead + line * 64);
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
}

/// The same value, which the compiler takes for a new one.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn hidden(mut x: __m256i) -> __m256i {
    // SAFETY: no instruction; the register is only named.
    unsafe { asm!("/* {0} */", inout(ymm_reg) x, options(nomem, nostack, preserves_flags)) };
    x
}

/// `hidden` of floats.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn hidden_floats(x: __m256) -> __m256 {
    _mm256_castsi256_ps(hidden(_mm256_castps_si256(x)))
}
