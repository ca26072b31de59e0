//! The model that is simulated: a hash of everything it has read.
//!
//! Next: `cells.rs`.

use gimbal_batch::{AdapterSlot, Answer, RowFault, SampleParams, TokenMask};

/// Everything a sequence has read so far, in one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub u64);

impl Chain {
    /// The state after one more token, computed with `adapter`.
    #[must_use]
    pub fn then(self, token: u32, adapter: AdapterSlot) -> Self {
        Self(mix(self.0 ^ (u64::from(token) | u64::from(adapter.0) << 32)))
    }

    /// The state after a whole prompt.
    #[must_use]
    pub fn of(tokens: &[u32], adapter: AdapterSlot) -> Self {
        tokens.iter().fold(Self::default(), |chain, token| chain.then(*token, adapter))
    }

    /// The token that follows; a vocabulary of `vocab` tokens. Seeds count unless greedy.
    #[must_use]
    pub fn next_token(self, vocab: u32, params: &SampleParams) -> u32 {
        let noise = if params.is_greedy() { 0 } else { mix(params.seed ^ 0x5eed) };
        low32(mix(self.0 ^ noise) % u64::from(vocab))
    }

    /// The answer of a sampled row.
    ///
    /// # Errors
    /// `EmptyMask` when the mask allows nothing.
    pub fn sample(
        self,
        vocab: u32,
        params: &SampleParams,
        mask: Option<&TokenMask>,
    ) -> Result<Answer, RowFault> {
        let first = self.next_token(vocab, params);
        let mut order = (first..vocab).chain(0..first);
        let allowed = |token: &u32| mask.is_none_or(|mask| mask.allows(*token));
        let token = order.find(allowed).ok_or(RowFault::EmptyMask)?;
        let count = params.logprobs.map_or(0, u32::from);
        let rank = |n| ((token + n) % vocab, self.logprob((token + n) % vocab) - small(n));
        let top: Vec<_> = (0..count.min(vocab)).map(rank).collect();
        let logprob = if params.logprobs.is_some() { self.logprob(token) } else { 0.0 };
        Ok(Answer::Sample { token, logprob, top })
    }

    /// The log probability of `token` as the next one: some number in (−1, 0].
    #[must_use]
    pub fn logprob(self, token: u32) -> f32 {
        -small(low32(mix(self.0 ^ u64::from(token)) % 1000)) / 1000.0
    }

    /// The output row: eight numbers in [0, 1).
    #[must_use]
    pub fn row(self) -> Vec<f32> {
        (0..8).map(|n| small(low32(mix(self.0 ^ n) % 1000)) / 1000.0).collect()
    }
}

/// The finaliser of SplitMix64, after one step of its counter.
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

fn low32(x: u64) -> u32 {
    u32::try_from(x).expect("a remainder of a 32-bit divisor")
}

/// Integers below 2²⁴ are exact floats.
fn small(n: u32) -> f32 {
    f32::from(u16::try_from(n).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_and_the_adapter_decide() {
        let base = Chain::of(&[1, 2, 3], AdapterSlot(0));
        for (tokens, adapter) in [([9, 2, 3], 0), ([1, 2, 9], 0), ([1, 2, 3], 1)] {
            assert_ne!(base, Chain::of(&tokens, AdapterSlot(adapter)));
        }
    }

    #[test]
    fn masks_and_seeds_are_honoured() {
        let (chain, greedy) = (Chain::of(&[4, 5], AdapterSlot(0)), SampleParams::default());
        let only = |bits: u32| TokenMask([bits].into());
        let sampled = chain.sample(32, &greedy, Some(&only(1 << 7)));
        assert_eq!(sampled, Ok(Answer::Sample { token: 7, logprob: 0.0, top: Vec::new() }));
        assert_eq!(chain.sample(32, &greedy, Some(&only(0))), Err(RowFault::EmptyMask));
        let seeded = |seed| {
            let params = SampleParams { temperature: 1.0, seed, ..SampleParams::default() };
            chain.next_token(1 << 20, &params)
        };
        assert_ne!(seeded(1), seeded(2));
    }
}
