//! Numbers by a seed: the same in every run.
//!
//! Next: `cases.rs`.

/// A generator of numbers.
///
/// **Source**: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(super) struct Noise(u64);

impl Noise {
    /// Begins anew.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub(super) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// In [-1, 1), as f32 holds it exactly.
    pub(super) fn number(&mut self) -> f32 {
        // 24 bits are what f32 counts.
        let bits = u32::try_from(self.bits() >> 40).unwrap_or(0);
        bits as f32 / (1 << 23) as f32 - 1.0
    }

    /// So many.
    pub(super) fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
}
