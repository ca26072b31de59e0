//! A register of a warp: 32 lanes, and how all of them are computed at once.
//!
//! Lanes are cells, since the register that is written may be one of those that are read. Next: `code`.

use std::cell::Cell;

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;
/// Lanes that are read before the first of them is written: as many as a vector of AVX2 has words.
const VECTOR: usize = 8;

/// A register.
pub(crate) type Lanes<T> = [Cell<T>; LANES];
/// 32 lanes of 32 bits.
pub(crate) type Words = Lanes<u32>;
/// 32 lanes of 64 bits.
pub(crate) type Doubles = Lanes<u64>;

/// Lanes of such values.
pub(crate) fn lanes<T>(value: impl FnMut(usize) -> T) -> Lanes<T> {
    let mut value = value;
    std::array::from_fn(|lane| Cell::new(value(lane)))
}

/// The values of all lanes.
#[inline(always)]
pub(crate) fn values<T: Copy + Default>(register: &Lanes<T>) -> [T; LANES] {
    let mut values = [T::default(); LANES];
    values.iter_mut().zip(register).for_each(|(value, lane)| *value = lane.get());
    values
}

/// Writes into each lane what `value` tells of it; it may read the same lane of any register.
#[inline]
pub(crate) fn put<T: Copy + Default>(to: &Lanes<T>, value: impl Fn(usize) -> T) {
    #[cfg(target_arch = "x86_64")]
    if has_vectors() {
        // SAFETY: the features were detected.
        return unsafe { put_by_vectors(to, value) };
    }
    put_each(to, value);
}

/// A bit of each lane.
#[inline]
pub(crate) fn bits(holds: impl Fn(usize) -> bool) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if has_vectors() {
        // SAFETY: the features were detected.
        return unsafe { bits_by_vectors(holds) };
    }
    bits_each(holds)
}

/// Bits of a lane.
pub(crate) trait Lane: Copy + Default {
    /// The first where the bit is 1, else the second; computed, since a choice becomes a jump.
    fn either(bit: u32, a: Self, b: Self) -> Self;
}

impl Lane for u32 {
    #[inline(always)]
    fn either(bit: u32, a: Self, b: Self) -> Self {
        b ^ (a ^ b) & bit.wrapping_neg()
    }
}

impl Lane for u64 {
    #[inline(always)]
    fn either(bit: u32, a: Self, b: Self) -> Self {
        b ^ (a ^ b) & Self::from(bit).wrapping_neg()
    }
}

/// Writes into the lanes of a mask.
#[inline]
pub(crate) fn blend<T: Lane>(to: &Lanes<T>, mask: u32, from: &Lanes<T>) {
    put(to, |lane| T::either(mask >> lane & 1, from[lane].get(), to[lane].get()));
}

/// Writes into four registers the four words of each lane.
pub(crate) fn put_quads(to: [&Words; 4], from: &[u8; 16 * LANES]) {
    let quads = from.as_chunks::<16>().0;
    #[cfg(target_arch = "x86_64")]
    if has_vectors() {
        // SAFETY: the features were detected.
        return unsafe { put_quads_by_vectors(to, quads) };
    }
    for (i, to) in to.into_iter().enumerate() {
        let word = |lane: usize| u32::from_le_bytes(quads[lane].as_chunks().0[i]);
        put_each(to, word);
    }
}

#[inline(always)]
fn put_each<T: Copy + Default>(to: &Lanes<T>, value: impl Fn(usize) -> T) {
    for (vector, to) in to.as_chunks::<VECTOR>().0.iter().enumerate() {
        let mut values = [T::default(); VECTOR];
        for (i, found) in values.iter_mut().enumerate() {
            *found = value(vector * VECTOR + i);
        }
        for (to, value) in to.iter().zip(values) {
            to.set(value);
        }
    }
}

#[inline(always)]
fn bits_each(holds: impl Fn(usize) -> bool) -> u32 {
    (0..LANES).fold(0, |bits, lane| bits | u32::from(holds(lane)) << lane)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn has_vectors() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// The same where vectors hold eight lanes, and a fused product is an instruction and no call.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn put_by_vectors<T: Copy + Default>(to: &Lanes<T>, value: impl Fn(usize) -> T) {
    put_each(to, value);
}

/// The same, a quarter of the lanes at a time, by exchanges between eight vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn put_quads_by_vectors(to: [&Words; 4], from: &[[u8; 16]]) {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm256_set_m128i, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
        _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    };
    use std::mem::transmute;
    for (vector, quads) in from.as_chunks::<VECTOR>().0.iter().enumerate() {
        // SAFETY: both are 16 bytes, and any bits are a vector.
        let quads = quads.map(|quad| unsafe { transmute::<[u8; 16], __m128i>(quad) });
        // Lanes i and i + 4 side by side.
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| _mm256_set_m128i(quads[i + 4], quads[i]));
        let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
        let (first, second) = (_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
        let (ab, cd) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
        let (third, fourth) = (_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
        for (to, values) in to.into_iter().zip([first, second, third, fourth]) {
            // SAFETY: both are 32 bytes, and any bits are words.
            let values = unsafe { transmute::<__m256i, [u32; VECTOR]>(values) };
            let to = &to.as_chunks::<VECTOR>().0[vector];
            to.iter().zip(values).for_each(|(to, value)| to.set(value));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn bits_by_vectors(holds: impl Fn(usize) -> bool) -> u32 {
    bits_each(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_may_be_written_that_is_read() {
        let register = lanes(|lane| lane);
        put(&register, |lane| register[lane].get() + 1);
        assert_eq!(values(&register), std::array::from_fn(|lane| lane + 1));
    }

    #[test]
    fn the_words_of_lanes_are_taken_apart() {
        let from: [u8; 16 * LANES] =
            std::array::from_fn(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]);
        let to: [Words; 4] = std::array::from_fn(|_| lanes(|_| 0));
        put_quads(to.each_ref(), &from);
        for (i, to) in to.iter().enumerate() {
            let word = |lane: usize| u32::from_le_bytes(from.as_chunks().0[4 * lane + i]);
            assert_eq!(values(to), std::array::from_fn(word));
        }
    }

    #[test]
    fn vectors_and_single_lanes_agree() {
        let (a, b) = (lanes(|lane| lane as f32 * 0.1), lanes(|lane| 3.0 - lane as f32));
        let value = |lane: usize| a[lane].get().mul_add(b[lane].get(), 0.7);
        let (one, other) = (lanes(|_| 0.0_f32), lanes(|_| 0.0_f32));
        put(&one, value);
        put_each(&other, value);
        assert_eq!(values(&one), values(&other));
        let holds = |lane: usize| a[lane].get() > b[lane].get();
        assert_eq!(bits(holds), bits_each(holds));
        assert_eq!(bits(|lane| lane % 3 == 1), 0x9249_2492);
        let (one, other) = (lanes(|lane| lane as u64), lanes(|lane| 7 * lane as u64));
        blend(&one, 6, &other);
        let expect = |lane| if [1, 2].contains(&lane) { 7 * lane } else { lane };
        assert_eq!(values(&one), std::array::from_fn(|lane| expect(lane as u64)));
    }
}
