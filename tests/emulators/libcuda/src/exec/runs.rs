//! Bytes of a warp's lanes side by side: between them and registers, and how they lie in memory.
//!
//! Neighbouring lanes mostly have neighbouring addresses: such a run is checked and moved in one go.
//! Next: `access`.

use std::ops::Range;

use super::code::{Place, Width};
use super::registers::{self, LANES, bits, blend, put_quads};
use super::warp::Warp;

/// Most bytes of a lane.
pub(super) const BYTES_MAX: usize = 16;

/// Each lane's bytes after those of the one before.
pub(super) type Bytes = [u8; LANES * BYTES_MAX];

/// Lanes of a mask, in runs: neighbours whose addresses are so many bytes apart.
pub(super) fn runs(
    lanes: u32,
    addresses: &[i64; LANES],
    bytes: usize,
) -> impl Iterator<Item = Range<usize>> {
    let bytes = bytes as u64;
    let follows =
        |lane: usize| addresses[lane] == addresses[lane.max(1) - 1].wrapping_add_unsigned(bytes);
    let mut starts = lanes & !(bits(follows) & lanes << 1);
    std::iter::from_fn(move || {
        if starts == 0 {
            return None;
        }
        let first = starts.trailing_zeros();
        starts &= starts - 1;
        // It ends where the next one begins, or where a lane does not take part, or at 32.
        let ends = (starts | !lanes) & u32::MAX << first;
        Some(first as usize..ends.trailing_zeros() as usize)
    })
}

impl Warp {
    /// Takes registers out of the lanes' bytes.
    pub(super) fn take(&self, from: &Bytes, width: Width, to: &[Place], lanes: u32) {
        if let ([a, b, c, d], 4) = (to, width.bytes) {
            let places = [*a, *b, *c, *d];
            if lanes == u32::MAX {
                return put_quads(places.map(|place| self.word(place)), from);
            }
            let quads = std::array::from_fn::<_, 4, _>(|_| registers::lanes(|_| 0));
            put_quads(quads.each_ref(), from);
            for (place, words) in places.into_iter().zip(&quads) {
                blend(self.word(place), lanes, words);
            }
            return;
        }
        let count = to.len();
        for (i, to) in to.iter().enumerate() {
            match (width.bytes, width.is_double) {
                (4, false) => {
                    let words = from.as_chunks::<4>().0;
                    let value = |lane: usize| u32::from_le_bytes(words[lane * count + i]);
                    self.set_word(*to, lanes, value);
                }
                (_, false) => {
                    self.set_word(*to, lanes, |lane| low(value(from, width, lane * count + i)));
                }
                (_, true) => {
                    self.set_double(*to, lanes, |lane| value(from, width, lane * count + i));
                }
            }
        }
    }

    /// Lays registers into the lanes' bytes.
    pub(super) fn lay(&self, from: &[Place], width: Width, lanes: Range<usize>, to: &mut Bytes) {
        for lane in lanes {
            for (i, place) in from.iter().enumerate() {
                let value = match width.is_double {
                    true => self.double(*place)[lane].get(),
                    false => self.word(*place)[lane].get().into(),
                };
                let at = (lane * from.len() + i) * width.bytes;
                to[at..at + width.bytes].copy_from_slice(&value.to_le_bytes()[..width.bytes]);
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a word's bits")]
pub(super) const fn low(value: u64) -> u32 {
    value as u32
}

/// A value of so many bytes, as a register has it.
fn value(from: &Bytes, width: Width, index: usize) -> u64 {
    macro_rules! value {
        ($bytes:literal, $unsigned:ty) => {{
            let value = <$unsigned>::from_le_bytes(from.as_chunks::<$bytes>().0[index]);
            match width.is_signed {
                true => i64::from(value.cast_signed()).cast_unsigned(),
                false => u64::from(value),
            }
        }};
    }
    match width.bytes {
        1 => value!(1, u8),
        2 => value!(2, u16),
        4 => value!(4, u32),
        _ => value!(8, u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expects the first lane of each run, and the one after its last.
    fn check(lanes: u32, address: impl Fn(i64) -> i64, expect: &[(usize, usize)]) {
        let addresses = std::array::from_fn(|lane| address(lane as i64));
        let found = runs(lanes, &addresses, 4).map(|run| (run.start, run.end));
        assert_eq!(found.collect::<Vec<_>>(), expect, "{lanes:#x}");
    }

    #[test]
    fn runs_are_neighbours_with_neighbouring_addresses() {
        check(u32::MAX, |lane| 100 + 4 * lane, &[(0, 32)]);
        check(0xf0, |lane| 4 * lane, &[(4, 8)]);
        check(0x8000_0001, |lane| 4 * lane, &[(0, 1), (31, 32)]);
        check(u32::MAX, |lane| 4 * lane + lane / 8 * 64, &[(0, 8), (8, 16), (16, 24), (24, 32)]);
        check(0xff, |lane| if lane < 3 { 4 * lane + 400 } else { 4 * lane }, &[(0, 3), (3, 8)]);
        check(0b111, |_| 8, &[(0, 1), (1, 2), (2, 3)]);
        check(0b1011, |lane| 4 * lane, &[(0, 2), (3, 4)]);
        check(0, |lane| lane, &[]);
    }
}
