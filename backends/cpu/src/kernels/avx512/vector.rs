//! Sixteen lanes: loads, folds, `exp`. What the kernels of this folder share.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::kernels::table::{EXP, EXP_MIN, LN2};

/// Lanes of a vector of f32.
pub(super) const WIDE: usize = 16;

/// 64 bytes at `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn load(bytes: &[u8], at: usize) -> __m512i {
    let bytes = &bytes[at..at + 64];
    // SAFETY: `bytes` is 64 bytes; an unaligned load has no other precondition.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Sixteen f32 at byte `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn load_wide(bytes: &[u8], at: usize) -> __m512 {
    _mm512_castsi512_ps(load(bytes, at))
}

/// Sixteen f16 at byte `at`, as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn load_f16(bytes: &[u8], at: usize) -> __m512 {
    _mm512_cvtph_ps(load_halves(bytes, at))
}

/// Sixteen bf16 at byte `at`, as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn load_bf16(bytes: &[u8], at: usize) -> __m512 {
    let wide = _mm512_cvtepu16_epi32(load_halves(bytes, at));
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
}

/// Sixteen bytes at `at`, as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn load_u8(bytes: &[u8], at: usize) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_sixteen(bytes, at)))
}

/// Sixteen int8 at `at`, as f32.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn load_i8(bytes: &[u8], at: usize) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_sixteen(bytes, at)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn load_halves(bytes: &[u8], at: usize) -> __m256i {
    let bytes = &bytes[at..at + 32];
    // SAFETY: `bytes` is 32 bytes; an unaligned load has no other precondition.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn load_sixteen(bytes: &[u8], at: usize) -> __m128i {
    let bytes = &bytes[at..at + 16];
    // SAFETY: `bytes` is 16 bytes; an unaligned load has no other precondition.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// `scalar::exp` in sixteen lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn exp(x: __m512) -> __m512 {
    let x = _mm512_max_ps(x, _mm512_set1_ps(EXP_MIN));
    let scaled = _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E));
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(scaled);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN2.0), x);
    let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(LN2.1), r);
    let mut poly = _mm512_set1_ps(EXP[0]);
    for c in &EXP[1..] {
        poly = _mm512_fmadd_ps(poly, r, _mm512_set1_ps(*c));
    }
    let y = _mm512_fmadd_ps(poly, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0)));
    let power = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    _mm512_mul_ps(y, _mm512_castsi512_ps(_mm512_slli_epi32::<23>(power)))
}

/// Sixteen f32, or fewer and zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn load_f32(values: &[f32]) -> __m512 {
    assert!((1..=WIDE).contains(&values.len()), "lanes of one vector");
    let mask = __mmask16::MAX >> (WIDE - values.len());
    // SAFETY: the mask's lanes lie in `values` (asserted); an unaligned masked load has no other
    // precondition.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// The lower and the upper half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn halves(v: __m512) -> [__m256; 2] {
    let v = _mm512_castps_pd(v);
    let (low, high) = (_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd::<1>(v));
    [_mm256_castpd_ps(low), _mm256_castpd_ps(high)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn lanes(v: __m512) -> [f32; WIDE] {
    let mut out = [0.0; WIDE];
    // SAFETY: `out` is 64 bytes; an unaligned store has no other precondition.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) };
    out
}

/// The same value, which the compiler takes for a new one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn hidden(mut x: __m512i) -> __m512i {
    // SAFETY: no instruction; the register is only named.
    unsafe { asm!("/* {0} */", inout(zmm_reg) x, options(nomem, nostack, preserves_flags)) };
    x
}

/// `hidden` of floats.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn hidden_floats(x: __m512) -> __m512 {
    _mm512_castsi512_ps(hidden(_mm512_castps_si512(x)))
}
