//! How fast this CPU's arithmetic is when nothing but registers is touched.
//!
//! Each loop does what an exact kernel cannot avoid for one block of 32 columns, sixteen rows of
//! weights and one row of activations, 512 multiply-adds, and nothing else: no load, no unpacking.

use std::arch::x86_64::*;

use super::vector::{hidden, hidden_floats};
use crate::kernels::table::Arithmetic;

/// Blocks in flight, so that latency does not show.
const WIDTH: usize = 8;

/// Runs some blocks; returns how many of eight rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn blocks(arithmetic: Arithmetic, rounds: usize) -> usize {
    let mut sums = [_mm512_setzero_ps(); WIDTH];
    let (w, x, f) = (_mm512_set1_epi8(3), _mm512_set1_epi8(1), _mm512_set1_ps(1e-9));
    for _ in 0..rounds {
        match arithmetic {
            Arithmetic::Offsets => {
                whole(w, x, f, &mut sums);
                sums.iter_mut().for_each(|sum| *sum = hidden_floats(*sum));
                for sum in &mut sums {
                    *sum = _mm512_fmadd_ps(hidden_floats(f), f, *sum);
                }
            }
            Arithmetic::Nibbles | Arithmetic::Bytes => whole(w, x, f, &mut sums),
            Arithmetic::Floats => {
                for _ in 0..32 {
                    for sum in &mut sums {
                        *sum = hidden_floats(_mm512_fmadd_ps(f, f, *sum));
                    }
                }
            }
        }
    }
    std::hint::black_box(sums);
    rounds * WIDTH * 2
}

/// The integers of a block, which become floats, are scaled and added.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn whole(w: __m512i, x: __m512i, f: __m512, sums: &mut [__m512; WIDTH]) {
    let mut whole = [_mm512_setzero_si512(); WIDTH];
    for _ in 0..8 {
        for whole in &mut whole {
            *whole = _mm512_dpbusd_epi32(*whole, hidden(w), x);
        }
    }
    for (sum, whole) in sums.iter_mut().zip(whole) {
        let by = _mm512_mul_ps(hidden_floats(f), f);
        *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), by, *sum);
    }
}
