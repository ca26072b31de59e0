//! How fast this CPU's arithmetic is when nothing but registers is touched.
//!
//! Each loop does what an exact kernel cannot avoid for one block of 32 columns, eight rows of
//! weights and one row of activations, 256 multiply-adds, and nothing else: no load, no unpacking.

use std::arch::x86_64::*;

use super::vector::{hidden, hidden_floats, load, prefetch};
use crate::kernels::table::Arithmetic;

/// Bytes ahead to prefetch.
const AHEAD: usize = 2560;

/// Blocks in flight, so that latency does not show.
const WIDTH: usize = 4;

/// Runs some blocks; returns how many.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn blocks(arithmetic: Arithmetic, rounds: usize) -> usize {
    let mut sums = [_mm256_setzero_ps(); WIDTH];
    let (w, x, f) = (_mm256_set1_epi8(3), _mm256_set1_epi8(1), _mm256_set1_ps(1e-9));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = match arithmetic {
                Arithmetic::Nibbles => nibbles(w, x, f, *sum),
                Arithmetic::Offsets => _mm256_fmadd_ps(f, hidden_floats(f), nibbles(w, x, f, *sum)),
                Arithmetic::Bytes => bytes(w, x, f, *sum),
                Arithmetic::Floats => floats(f, *sum),
            };
        }
    }
    std::hint::black_box(sums);
    rounds * WIDTH
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn nibbles(w: __m256i, x: __m256i, f: __m256, sum: __m256) -> __m256 {
    let mut whole = _mm256_maddubs_epi16(hidden(w), x);
    for _ in 0..7 {
        whole = _mm256_add_epi16(whole, _mm256_maddubs_epi16(hidden(w), x));
    }
    let whole = _mm256_cvtepi32_ps(_mm256_madd_epi16(whole, x));
    _mm256_fmadd_ps(whole, _mm256_mul_ps(hidden_floats(f), f), sum)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn bytes(w: __m256i, x: __m256i, f: __m256, sum: __m256) -> __m256 {
    let mut whole = _mm256_setzero_si256();
    for _ in 0..8 {
        let pairs = _mm256_maddubs_epi16(w, _mm256_sign_epi8(hidden(x), w));
        whole = _mm256_add_epi32(whole, _mm256_madd_epi16(pairs, x));
    }
    let whole = _mm256_cvtepi32_ps(whole);
    _mm256_fmadd_ps(whole, _mm256_mul_ps(hidden_floats(f), f), sum)
}

/// Four chains, for a sum of one would be bound by latency.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn floats(f: __m256, sum: __m256) -> __m256 {
    let mut sums = [sum, f, f, f];
    for _ in 0..8 {
        sums = sums.map(|sum| _mm256_fmadd_ps(hidden_floats(f), f, sum));
    }
    _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]))
}

/// The sum of all words, of a multiple of 128 bytes: read as fast as memory gives them.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn read(bytes: &[u8]) -> u64 {
    let mut sums = [_mm256_setzero_si256(); 4];
    for lines in bytes.as_chunks::<128>().0 {
        prefetch::<2>(lines, AHEAD);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = _mm256_add_epi64(*sum, load(lines, i * 32));
        }
    }
    let sum =
        _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
    _mm256_extract_epi64::<0>(sum)
        .wrapping_add(_mm256_extract_epi64::<1>(sum))
        .wrapping_add(_mm256_extract_epi64::<2>(sum))
        .wrapping_add(_mm256_extract_epi64::<3>(sum))
        .cast_unsigned()
}
