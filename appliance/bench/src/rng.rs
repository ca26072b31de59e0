//! Random numbers from a seed: xorshift64*, the same on every machine.
//!
//! Next: `lengths.rs`.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of a seed and of what it is for: equal parts give equal streams, others do not.
    pub(crate) fn of(parts: &[u64]) -> Self {
        let mut state = 0;
        for part in parts {
            // splitmix64: neighbouring seeds must not give similar streams.
            state = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
            state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state ^= state >> 31;
        }
        Self(state | 1)
    }

    fn next_word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let product = (self.next_word() >> 32) * u64::from(bound);
        u32::try_from(product >> 32).expect("less than the bound")
    }

    /// A number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        f64::from(self.below(1 << 31)) / f64::from(1_u32 << 31)
    }

    /// Time between two events of a Poisson process, as a multiple of the mean.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// The sum of twelve uniform numbers is normal enough for lengths.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// An index of a list, which has an element.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_every_part() {
        let first = |parts: &[u64]| Rng::of(parts).next_word();
        let all = [&[1, 2][..], &[2, 1], &[1, 3], &[0, 2], &[1], &[1, 2, 0]].map(first);
        for (i, a) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(a), "{all:?}");
        }
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
    }

    #[test]
    fn numbers_have_their_means() {
        let mut rng = Rng::of(&[7]);
        let mean =
            |values: &mut dyn FnMut() -> f64| (0..20_000).map(|_| values()).sum::<f64>() / 2e4;
        // 20,000 draws: standard errors are 0.002, 0.007 and 0.007.
        assert!((mean(&mut || rng.unit()) - 0.5).abs() < 0.02);
        assert!((mean(&mut || rng.exponential()) - 1.0).abs() < 0.05);
        assert!(mean(&mut || rng.normal()).abs() < 0.05);
    }
}
