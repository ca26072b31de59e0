//! Tensor cores: which lane holds which element, and the product.
//!
//! **Source**: PTX ISA, "Matrix fragments for mma.m16n8k8/k16" and `ldmatrix`.

use half::{bf16, f16};

use super::code::Mma;
use super::registers::LANES;
use super::shared::Shared;

/// Loads `count` matrices of 8 by 8 halves; lanes `8 i..8 i + 8` give the rows of matrix `i`.
pub(super) fn load(
    rows: &[i64; LANES],
    count: usize,
    is_transposed: bool,
    lanes: u32,
    shared: &mut Shared,
    warp: u32,
) -> Result<Vec<[u32; LANES]>, (usize, String)> {
    if lanes != u32::MAX {
        let lane = lanes.trailing_zeros() as usize;
        return Err((lane, "a matrix loaded by a part of a warp".to_owned()));
    }
    let mut loaded = Vec::with_capacity(count);
    for matrix in 0..count {
        let mut values = [[0_u16; 8]; 8];
        for (row, values) in values.iter_mut().enumerate() {
            let lane = matrix * 8 + row;
            let bytes = shared.read(rows[lane], 16, 16, warp).map_err(|what| (lane, what))?;
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = u16::from_le_bytes(*bytes);
            }
        }
        loaded.push(std::array::from_fn(|lane| {
            let (row, column) = (lane / 4, lane % 4 * 2);
            let at = |column: usize| match is_transposed {
                true => u32::from(values[column][row]),
                false => u32::from(values[row][column]),
            };
            at(column) | at(column + 1) << 16
        }));
    }
    Ok(loaded)
}

/// `A · B + C` of 16 rows and 8 columns: the registers of A, then of B, then of C.
pub(super) fn product(mma: Mma, registers: &[[u32; LANES]]) -> [[u32; LANES]; 4] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the feature was just detected.
        return unsafe { product_by_instruction(mma, registers) };
    }
    product_each(mma, registers)
}

/// The same where a fused product is an instruction and no call.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,fma")]
fn product_by_instruction(mma: Mma, registers: &[[u32; LANES]]) -> [[u32; LANES]; 4] {
    product_each(mma, registers)
}

#[inline(always)]
fn product_each(mma: Mma, registers: &[[u32; LANES]]) -> [[u32; LANES]; 4] {
    let Mma { k, is_bf16 } = mma;
    let (of_a, of_b) = (k / 4, k / 8);
    let value = |word: u32, half: usize| {
        let [a, b, c, d] = word.to_le_bytes();
        let bytes = if half == 0 { [a, b] } else { [c, d] };
        match is_bf16 {
            true => bf16::from_le_bytes(bytes).to_f32(),
            false => f16::from_le_bytes(bytes).to_f32(),
        }
    };
    let (mut a, mut b) = ([[0.0_f32; 16]; 16], [[0.0_f32; 8]; 16]);
    for lane in 0..LANES {
        let (group, member) = (lane / 4, lane % 4 * 2);
        for (r, words) in registers[..of_a].iter().enumerate() {
            for half in 0..2 {
                // Registers alternate between rows 0 to 7 and 8 to 15; pairs of them between columns.
                a[group + r % 2 * 8][member + half + r / 2 * 8] = value(words[lane], half);
            }
        }
        for (r, words) in registers[of_a..of_a + of_b].iter().enumerate() {
            for half in 0..2 {
                b[member + half + r * 8][group] = value(words[lane], half);
            }
        }
    }
    let mut sums = [[0.0_f32; 8]; 16];
    for r in 0..4 {
        let c = &registers[of_a + of_b + r];
        for (lane, c) in c.iter().enumerate() {
            sums[lane / 4 + r / 2 * 8][lane % 4 * 2 + r % 2] = f32::from_bits(*c);
        }
    }
    for (sums, a) in sums.iter_mut().zip(&a) {
        for (a, b) in a[..k].iter().zip(&b) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(*b, *sum);
            }
        }
    }
    let mut to = [[0; LANES]; 4];
    for (r, to) in to.iter_mut().enumerate() {
        for (lane, to) in to.iter_mut().enumerate() {
            *to = sums[lane / 4 + r / 2 * 8][lane % 4 * 2 + r % 2].to_bits();
        }
    }
    to
}
