//! Integers and scales of packed weights, as the kernels of both Arm tables read them.
//!
//! A block of eight rows is read in two halves of four rows. Its nibbles are eight pieces of 16 bytes,
//! of which the packing says what they hold; upper bits lie by the same order (`pack.rs`).

use std::arch::aarch64::*;

use gimbal_model::weights::DType;

use super::vector::{load, load_four_f16};
use crate::kernels::tile::Type;
use crate::pack::lifted;

/// Whether a block's halves of 16 columns have scales of their own.
pub(in crate::kernels) const fn has_two_scales(dtype: DType) -> bool {
    matches!(dtype, DType::Q6K)
}

/// The integers of piece `piece` (0 to 7) of a block: those of columns below 16, and those 16 later.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::kernels) fn integers<W: Type>(block: &[u8], piece: usize) -> [int8x16_t; 2] {
    if let DType::Q8_0 = W::DTYPE {
        let low = load(block, piece * 16);
        return [low, load(block, 128 + piece * 16)].map(|bytes| vreinterpretq_s8_u8(bytes));
    }
    let packed = load(block, piece * 16);
    let mut low = vandq_u8(packed, vdupq_n_u8(15));
    let mut high = vshrq_n_u8::<4>(packed);
    // Upper bits lie in vectors of two pieces: bit (pair) `v` is this piece's.
    let (v, at) = (piece / 2, 128 + piece % 2 * 16);
    if W::HAS_FIFTH {
        let (bits, bit) = (load(block, at), vdupq_n_u8(16));
        low = vorrq_u8(low, vandq_u8(shifted(bits, 4 - v.cast_signed()), bit));
        high = vorrq_u8(high, vandq_u8(shifted(bits, -v.cast_signed()), bit));
    } else if let DType::Q6K = W::DTYPE {
        let (pair, by) = (vdupq_n_u8(0x30), 4 - 2 * v.cast_signed());
        low = vorrq_u8(low, vandq_u8(shifted(load(block, at), by), pair));
        high = vorrq_u8(high, vandq_u8(shifted(load(block, at + 32), by), pair));
    }
    let (low, high) = (vreinterpretq_s8_u8(low), vreinterpretq_s8_u8(high));
    match lifted(W::DTYPE) {
        0 => [low, high],
        by => [vsubq_s8(low, vdupq_n_s8(by)), vsubq_s8(high, vdupq_n_s8(by))],
    }
}

/// Each byte shifted left by so many bits, right where they are fewer than 0.
#[inline]
#[target_feature(enable = "neon")]
fn shifted(bytes: uint8x16_t, by: isize) -> uint8x16_t {
    #[expect(clippy::cast_possible_truncation, reason = "-4 to 4")]
    let by = by as i8;
    vshlq_u8(bytes, vdupq_n_s8(by))
}

/// What the blocks that share them are multiplied with, and what is added: of four rows.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Scales {
    /// Of the columns below 16, and of the others.
    pub(in crate::kernels) d: [float32x4_t; 2],
    /// Used where the type has offsets.
    pub(in crate::kernels) m: float32x4_t,
}

impl Scales {
    /// The f16 of half `half` of the rows.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::kernels) fn shared<W: Type>(all: &[u8], half: usize) -> Self {
        let d = load_four_f16(all, W::EIGHT.scales() + 8 * half);
        let m = match W::DTYPE.has_offset() {
            true => load_four_f16(all, W::EIGHT.offsets() + 8 * half),
            false => vdupq_n_f32(0.0),
        };
        Self { d: [d; 2], m }
    }

    /// Those of a block: times its small ones where the type has some.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::kernels) fn of<W: Type>(self, block: &[u8], half: usize) -> Self {
        let first = W::EIGHT.quants + 4 * half;
        let second = first + W::EIGHT.lanes;
        match W::DTYPE {
            DType::Q4K | DType::Q5K => {
                let d = vmulq_f32(self.d[0], vcvtq_f32_u32(small(block, first)));
                Self { d: [d; 2], m: vmulq_f32(self.m, vcvtq_f32_u32(small(block, second))) }
            }
            DType::Q6K => {
                let [d0, d1] = [signed(block, first), signed(block, second)];
                Self { d: [vmulq_f32(self.d[0], d0), vmulq_f32(self.d[1], d1)], ..self }
            }
            _ => self,
        }
    }
}

/// Those of a block, of both halves of the rows: `Scales::of` of each, by fewer instructions.
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::kernels) fn both<W: Type>(shared: [Scales; 2], block: &[u8]) -> [Scales; 2] {
    let (first, [low, high]) = (W::EIGHT.quants, shared);
    match W::DTYPE {
        DType::Q4K | DType::Q5K => {
            let small = load(block, first);
            let [d, m] = [vmovl_u8(vget_low_u8(small)), vmovl_high_u8(small)];
            let wide =
                |v| [vmovl_u16(vget_low_u16(v)), vmovl_high_u16(v)].map(|v| vcvtq_f32_u32(v));
            let ([d0, d1], [m0, m1]) = (wide(d), wide(m));
            let of = |all: Scales, d, m| Scales {
                d: [vmulq_f32(all.d[0], d); 2],
                m: vmulq_f32(all.m, m),
            };
            [of(low, d0, m0), of(high, d1, m1)]
        }
        DType::Q6K => {
            let small = vreinterpretq_s8_u8(load(block, first));
            let [d, e] = [vmovl_s8(vget_low_s8(small)), vmovl_high_s8(small)];
            let wide =
                |v| [vmovl_s16(vget_low_s16(v)), vmovl_high_s16(v)].map(|v| vcvtq_f32_s32(v));
            let ([d0, d1], [e0, e1]) = (wide(d), wide(e));
            let of = |all: Scales, d, e| Scales {
                d: [vmulq_f32(all.d[0], d), vmulq_f32(all.d[1], e)],
                ..all
            };
            [of(low, d0, e0), of(high, d1, e1)]
        }
        _ => shared,
    }
}

/// Four bytes at `at`.
#[inline]
#[target_feature(enable = "neon")]
fn small(block: &[u8], at: usize) -> uint32x4_t {
    let four = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let words = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
    vmovl_u16(vget_low_u16(words))
}

/// Four int8 at `at`, as f32.
#[inline]
#[target_feature(enable = "neon")]
fn signed(block: &[u8], at: usize) -> float32x4_t {
    let bytes = vreinterpretq_s32_u32(small(block, at));
    // The sign of a byte is that of the word whose highest byte it is.
    vcvtq_f32_s32(vshrq_n_s32::<24>(vshlq_n_s32::<24>(bytes)))
}
