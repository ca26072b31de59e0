//! What a row's token is drawn by.
//!
//! The number that a choice is made by is a pure function of seed and position, so that equal seeds give equal tokens
//! under any schedule. It is another than the host sampler's: tokens are equally probable, not the same.
//! Next: `inputs.rs`.

use gimbal_batch::SampleParams;

/// A row's parameters; the default is the most probable token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Divides logits; 0 takes the most probable token.
    pub temperature: f32,
    /// So many of the most probable tokens, and those as probable as the last of them; 0 takes all.
    pub top_k: u32,
    /// The most probable of those whose share reaches this.
    pub top_p: f32,
    /// Tokens at least this share as probable as the most probable one.
    pub min_p: f32,
    /// In (0, 1): which token.
    pub uniform: f32,
}

impl Default for Draw {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, min_p: 0.0, uniform: 0.5 }
    }
}

impl Draw {
    /// A row at a position, by a request's parameters. Penalties, masks and early ends are not among them.
    #[must_use]
    pub fn new(params: &SampleParams, position: u32) -> Self {
        let SampleParams { temperature, top_k, top_p, min_p, seed, .. } = *params;
        let uniform = uniform(seed, position);
        Self { temperature, top_k, top_p, min_p, uniform }
    }

    /// As the program takes them: temperature, tokens, share, logarithm of the least share, number.
    pub(super) fn numbers(self) -> [f32; 5] {
        // As many as there are, where none is left out.
        let top_k = if self.top_k == 0 { f32::MAX } else { self.top_k as f32 };
        // A share of all is reached by any bound below all tokens: rounding could miss it.
        let top_p = if self.top_p >= 1.0 { f32::MAX } else { self.top_p };
        let least = if self.min_p > 0.0 { self.min_p.ln() } else { f32::MIN };
        [self.temperature, top_k, top_p, least, self.uniform]
    }
}

/// In (0, 1), of 23 random bits and a half: f32 holds each of them exactly.
#[must_use]
pub fn uniform(seed: u64, position: u32) -> f32 {
    let bits = mix(mix(seed ^ 0x9e37_79b9_7f4a_7c15) ^ u64::from(position));
    let top = u32::try_from(bits >> 41).unwrap_or(0);
    (top as f32 + 0.5) / (1_u32 << 23) as f32
}

/// The finaliser of SplitMix64 (Steele et al. 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_evenly_between_0_and_1() {
        let mut counts = [0_u32; 16];
        for seed in 0..64 {
            for position in 0..256 {
                let number = uniform(seed, position);
                assert!(number > 0.0 && number < 1.0);
                let sixteenth = (1..16).filter(|i| number * 16.0 >= *i as f32).count();
                counts[sixteenth] += 1;
            }
        }
        // 1024 of each, give or take four standard deviations.
        assert!(counts.iter().all(|count| count.abs_diff(1024) < 128), "{counts:?}");
        assert_eq!(uniform(7, 9), uniform(7, 9));
        let largest = ((1_u32 << 23) as f32 - 0.5) / (1_u32 << 23) as f32;
        assert!(largest < 1.0);
    }
}
