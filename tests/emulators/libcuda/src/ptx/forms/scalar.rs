//! What forms compute in one lane, where it is more than an operator. Next: `../forms.rs`, the table.

use half::{bf16, f16};

pub(super) const fn wide_signed(a: u32) -> i64 {
    a.cast_signed() as i64
}

/// A signed value's low bits.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
pub(super) const fn low(a: u64) -> u32 {
    a as u32
}

pub(super) const fn mul_wide_signed(a: u32, b: u32) -> u64 {
    (wide_signed(a) * wide_signed(b)).cast_unsigned()
}

pub(super) const fn mul_wide(a: u32, b: u32) -> u64 {
    a as u64 * b as u64
}

/// A sum whose bits beyond an f32's are cut off. What its f64 has lost (Knuth's two sums) tells whether an f32 that
/// is that f64 lies beyond the exact sum.
#[expect(clippy::cast_possible_truncation, reason = "f32 is the result")]
pub(super) fn add_toward_zero(a: f32, b: f32) -> f32 {
    let (x, y) = (f64::from(a), f64::from(b));
    let sum = x + y;
    let other = sum - x;
    let lost = (x - (sum - other)) + (y - other);
    let nearest = sum as f32;
    let beyond = (f64::from(nearest) - sum) * sum.signum();
    let is_beyond = beyond > 0.0 || beyond == 0.0 && lost * sum.signum() < 0.0;
    if is_beyond { f32::from_bits(nearest.to_bits() - 1) } else { nearest }
}

/// All bits, or none.
const fn mask(holds: bool) -> u32 {
    (holds as u32).wrapping_neg()
}

const fn mask_double(holds: bool) -> u64 {
    (holds as u64).wrapping_neg()
}

/// Shifts by more bits than there are give 0; a mask and no choice, which would be a jump for each lane.
#[inline]
pub(super) const fn shift_left(a: u32, by: u32) -> u32 {
    a << (by & 31) & mask(by < 32)
}

#[inline]
pub(super) const fn shift_right(a: u32, by: u32) -> u32 {
    a >> (by & 31) & mask(by < 32)
}

#[inline]
pub(super) const fn shift_left_double(a: u64, by: u32) -> u64 {
    a << (by & 63) & mask_double(by < 64)
}

#[inline]
pub(super) const fn shift_right_double(a: u64, by: u32) -> u64 {
    a >> (by & 63) & mask_double(by < 64)
}

pub(super) fn bit_field_insert(from: u32, to: u32, at: u32, length: u32) -> u32 {
    let (at, length) = (at & 0xff, length & 0xff);
    let ones = if length >= 32 { u32::MAX } else { (1 << length) - 1 };
    let mask = ones.checked_shl(at).unwrap_or(0);
    to & !mask | from.checked_shl(at).unwrap_or(0) & mask
}

pub(super) fn bit_field_insert_double(from: u64, to: u64, at: u32, length: u32) -> u64 {
    let (at, length) = (at & 0xff, length & 0xff);
    let ones = if length >= 64 { u64::MAX } else { (1 << length) - 1 };
    let mask = ones.checked_shl(at).unwrap_or(0);
    to & !mask | from.checked_shl(at).unwrap_or(0) & mask
}

pub(super) fn bit_field(value: u32, at: u32, length: u32) -> u32 {
    let (at, length) = (at & 0xff, length & 0xff);
    let ones = if length >= 32 { u32::MAX } else { (1 << length) - 1 };
    value.checked_shr(at).unwrap_or(0) & ones
}

/// `prmt.b32` in its default mode.
pub(super) fn permute_bytes(a: u32, b: u32, selectors: u32) -> u32 {
    let bytes = u64::from(a) | u64::from(b) << 32;
    (0..4).fold(0, |result, i| {
        let selector = selectors >> (4 * i) & 15;
        let [byte, ..] = (bytes >> (8 * (selector & 7))).to_le_bytes();
        let sign = if byte & 0x80 == 0 { 0 } else { 0xff };
        result | u32::from(if selector & 8 == 0 { byte } else { sign }) << (8 * i)
    })
}

/// `a · b + c` with one rounding.
#[inline]
pub(super) fn fused(a: u32, b: u32, c: u32) -> u32 {
    let [a, b, c] = [a, b, c].map(f32::from_bits);
    a.mul_add(b, c).to_bits()
}

/// Towards 0; what is too large becomes the largest, what is no number 0.
#[expect(clippy::cast_possible_truncation, reason = "it saturates")]
pub(super) const fn to_whole(a: f32) -> u32 {
    (a as i32).cast_unsigned()
}

pub(super) fn half_to_float(a: u32) -> u32 {
    let [low, high, ..] = a.to_le_bytes();
    f16::from_le_bytes([low, high]).to_f32().to_bits()
}

pub(super) fn to_half(a: u32) -> u32 {
    f16::from_f32(f32::from_bits(a)).to_bits().into()
}

pub(super) fn to_bf16(a: u32) -> u32 {
    let value = f32::from_bits(a);
    // Of what is no number, PTX says which: `0x7fff`.
    if value.is_nan() { 0x7fff } else { bf16::from_f32(value).to_bits().into() }
}

pub(super) fn least(a: f32, b: f32) -> f32 {
    if a == b { f32::from_bits(a.to_bits() | b.to_bits()) } else { a.min(b) }
}

pub(super) fn largest(a: f32, b: f32) -> f32 {
    if a == b { f32::from_bits(a.to_bits() & b.to_bits()) } else { a.max(b) }
}
