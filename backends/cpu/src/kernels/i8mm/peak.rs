//! How fast this CPU's arithmetic is when nothing but registers is touched: see `neon/peak.rs`.

use std::arch::aarch64::*;

use super::dot::{TwoBlocks, add, add_with_offset};
use crate::kernels::neon;
use crate::kernels::table::Arithmetic;

/// Tiles of two rows of weights and two of activations: eight rows of weights with two blocks.
const TILES: usize = 4;
/// Pairs of blocks in flight, so that latency does not show.
const WIDTH: usize = 2;

/// Runs some blocks; returns how many.
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) fn blocks(arithmetic: Arithmetic, rounds: usize) -> usize {
    let mut sums = [[vdupq_n_f32(0.0); TILES]; WIDTH];
    let (w, f) = (vdupq_n_s8(3), vdupq_n_f32(1e-9));
    let x = TwoBlocks { q: [vdupq_n_s8(1); 4], d: f, s: f };
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = match arithmetic {
                Arithmetic::Nibbles | Arithmetic::Bytes => add(*sum, [[w; 2]; 2], f, x),
                Arithmetic::Offsets => add_with_offset(*sum, [[w; 2]; 2], [f; 2], x),
                Arithmetic::Floats => return (neon::KERNELS.peak)(arithmetic, rounds),
            };
        }
    }
    std::hint::black_box(sums);
    // Each pair is two blocks.
    rounds * WIDTH * 2
}
