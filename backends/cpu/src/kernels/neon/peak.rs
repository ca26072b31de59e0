//! How fast this CPU's arithmetic is when nothing but registers is touched.
//!
//! Each loop does what an exact kernel cannot avoid for one block of 32 columns, eight rows of
//! weights and one row of activations, 256 multiply-adds, and nothing else: no load, no unpacking.

use std::arch::aarch64::*;
use std::arch::asm;

use super::dot::{Row, add, add_with_offset};
use super::vector::{all, load};
use crate::kernels::table::Arithmetic;
use crate::pack::BLOCK;

/// Blocks in flight, so that latency does not show.
const WIDTH: usize = 4;

/// Runs some blocks; returns how many.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn blocks(arithmetic: Arithmetic, rounds: usize) -> usize {
    let mut sums = [all(0.0); WIDTH];
    let (w, f) = (vdupq_n_s8(3), vdupq_n_f32(1e-9));
    let x = Row { q: [vdupq_n_s8(1); 2], ds: vget_low_f32(f) };
    for _ in 0..rounds {
        for half in sums.as_flattened_mut() {
            *half = match arithmetic {
                Arithmetic::Nibbles | Arithmetic::Bytes => add::<false>(*half, [[w; 4]; 2], f, x),
                Arithmetic::Offsets => add_with_offset::<false>(*half, [[w; 4]; 2], [f; 2], x),
                Arithmetic::Floats => floats(*half, f),
            };
        }
    }
    std::hint::black_box(sums);
    rounds * WIDTH
}

#[inline]
#[target_feature(enable = "neon")]
fn floats(mut sum: float32x4_t, mut f: float32x4_t) -> float32x4_t {
    for _ in 0..BLOCK {
        // SAFETY: no instruction; the register is only named, so that the compiler takes it for a new
        // one.
        unsafe { asm!("/* {0:v} */", inout(vreg) f, options(nomem, nostack, preserves_flags)) };
        sum = vfmaq_f32(sum, f, f);
    }
    sum
}

/// The sum of all words, of a multiple of 128 bytes: read as fast as memory gives them.
#[target_feature(enable = "neon")]
pub(super) fn read(bytes: &[u8]) -> u64 {
    let mut sums = [vdupq_n_u64(0); 8];
    for lines in bytes.as_chunks::<128>().0 {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = vaddq_u64(*sum, vreinterpretq_u64_u8(load(lines, i * 16)));
        }
    }
    let sum = [0, 4]
        .map(|i| vaddq_u64(vaddq_u64(sums[i], sums[i + 1]), vaddq_u64(sums[i + 2], sums[i + 3])));
    vaddvq_u64(vaddq_u64(sum[0], sum[1]))
}
