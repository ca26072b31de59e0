//! The kernels for x86-64 with AVX2, FMA and F16C.
//!
//! `linear` and `attend` hold the two large ones, `vector` what they share, `peak` what they are
//! measured against; this file is the table and the kernels of single rows.

mod attend;
mod linear;
mod peak;
pub(super) mod vector;

use std::arch::x86_64::*;

use super::table::{ActBlock, Arithmetic, Attend, EXP_MIN, GELU, Kernels, Linear, scale};
use crate::pack::{BLOCK, LANES, Packing};
use vector::{exp, lanes, load_f32, maximum, total};

/// Bytes of a cache line.
const LINE: usize = 64;

pub(super) const KERNELS: Kernels = Kernels {
    name: "avx2",
    packing: Packing::of_lanes(LANES),
    prefetch,
    linear,
    quantise,
    rms_norm,
    silu_mul,
    gelu_mul,
    attend,
    to_f16,
    peak,
    read,
};

/// What this table needs and this CPU lacks.
pub(super) fn lacking() -> Vec<&'static str> {
    let needed = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
    ];
    needed.into_iter().filter(|(_, has)| !has).map(|(name, _)| name).collect()
}

/// Calls a function that needs the features; the table it stands in is only used where
/// `lacking` said nothing.
macro_rules! with_features {
    ($call:expr) => {{
        debug_assert!(lacking().is_empty());
        // SAFETY: AVX2, FMA and F16C were detected before this table was chosen; further
        // preconditions of the callee are those of the enclosing function.
        let outcome = unsafe { $call };
        outcome
    }};
}

unsafe fn linear(task: &Linear<'_>) {
    with_features!(linear::linear_groups(task));
}
fn quantise(x: &[f32], out: &mut [ActBlock]) {
    with_features!(quantise_blocks(x, out));
}
fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    with_features!(rms_norm_row(x, weight, eps, out));
}
fn silu_mul(gate: &mut [f32], up: &[f32]) {
    with_features!(silu_mul_row(gate, up));
}
fn gelu_mul(gate: &mut [f32], up: &[f32]) {
    with_features!(gelu_mul_row(gate, up));
}
unsafe fn attend(task: &Attend<'_>, out: &mut [f32]) {
    with_features!(attend::attend_tile(task, out, prefetch));
}
fn to_f16(x: &[f32], out: &mut [[u8; 2]]) {
    with_features!(to_f16_row(x, out));
}
fn peak(arithmetic: Arithmetic, rounds: usize) -> usize {
    with_features!(peak::blocks(arithmetic, rounds))
}
fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(LINE) {
        // SAFETY: a prefetch of any address is allowed; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}
fn read(bytes: &[u8]) -> u64 {
    with_features!(peak::read(bytes))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn quantise_blocks(x: &[f32], out: &mut [ActBlock]) {
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
fn rms_norm_row(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
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
fn silu_mul_row(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.as_chunks_mut::<LANES>().0.iter_mut().zip(up.as_chunks::<LANES>().0) {
        let x = load_f32(gate, 0);
        *gate = lanes(_mm256_mul_ps(gated(x, x), load_f32(up, 0)));
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn gelu_mul_row(gate: &mut [f32], up: &[f32]) {
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
fn to_f16_row(x: &[f32], out: &mut [[u8; 2]]) {
    let (least, most) = (_mm256_set1_ps(-65504.0), _mm256_set1_ps(65504.0));
    for (x, out) in x.as_chunks::<LANES>().0.iter().zip(out.as_chunks_mut::<LANES>().0) {
        let x = _mm256_min_ps(_mm256_max_ps(load_f32(x, 0), least), most);
        let half = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
        // SAFETY: `out` is 16 bytes; an unaligned store has no other precondition.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), half) };
    }
}
