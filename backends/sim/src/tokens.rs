//! The model that is simulated: a hash of everything it has read.
//!
//! Next: `cells.rs`.

use gimbal_batch::{Answer, RowFault, SampleParams, Score, TokenId, TokenMask};

/// Everything a sequence has read so far, in one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub u64);

impl Chain {
    /// The state after one more row.
    #[must_use]
    pub fn then(self, row: Row) -> Self {
        let Row { token, adapter, injected } = row;
        let word = |number: u64, kind| if number == 0 { 0 } else { mix(number ^ kind) };
        Self(mix(self.0 ^ u64::from(token.get()) ^ word(adapter, 1) ^ word(injected, 2)))
    }

    /// The state after a whole prompt, computed with the adapter of that generation; 0 is the base
    /// model.
    #[must_use]
    pub fn of(tokens: &[TokenId], adapter: u64) -> Self {
        let row = |token: &TokenId| Row { adapter, ..Row::of(*token) };
        tokens.iter().map(row).fold(Self::default(), Self::then)
    }

    /// The token that follows; a vocabulary of `vocab` tokens. Seeds count unless greedy.
    #[must_use]
    pub fn next_token(self, vocab: u32, params: &SampleParams) -> TokenId {
        let noise = if params.is_greedy() { 0 } else { mix(params.seed ^ 0x5eed) };
        TokenId::new(low32(mix(self.0 ^ noise) % u64::from(vocab)))
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
        let first = self.next_token(vocab, params).get();
        let mut order = (first..vocab).chain(0..first).map(TokenId::new);
        let allowed = |token: &TokenId| mask.is_none_or(|mask| mask.allows(*token));
        let token = order.find(allowed).ok_or(RowFault::EmptyMask)?;
        let top = match params.logprobs {
            Some(_) if !params.logprob_ids.is_empty() => {
                params.logprob_ids.iter().map(|id| (*id, self.logprob(*id))).collect()
            }
            Some(count) => self.top(token, vocab, count),
            None => Vec::new(),
        };
        let logprob = if params.logprobs.is_some() { self.logprob(token) } else { 0.0 };
        Ok(Answer::Sample { token, logprob, top })
    }

    /// The answer of a scored row.
    #[must_use]
    pub fn score(self, vocab: u32, ids: &[TokenId], top: u8) -> Answer {
        let rank = |id: &TokenId| 1 + low32(mix(self.0 ^ u64::from(id.get()) ^ 1 << 40) % 1000);
        let score = |id: &TokenId| Score { logprob: self.logprob(*id), rank: rank(id) };
        let first = self.next_token(vocab, &SampleParams::default());
        Answer::Score { scores: ids.iter().map(score).collect(), top: self.top(first, vocab, top) }
    }

    /// Alternatives: the tokens from `first` on.
    fn top(self, first: TokenId, vocab: u32, count: u8) -> Vec<(TokenId, f32)> {
        let rank = |n| {
            let next = TokenId::new((first.get() + n) % vocab);
            (next, self.logprob(next) - small(n))
        };
        (0..u32::from(count).min(vocab)).map(rank).collect()
    }

    /// The log probability of `token` as the next one: some number in (−1, 0].
    #[must_use]
    pub fn logprob(self, token: TokenId) -> f32 {
        -small(low32(mix(self.0 ^ u64::from(token.get())) % 1000)) / 1000.0
    }

    /// The output row: eight numbers in [0, 1).
    #[must_use]
    pub fn row(self) -> Vec<f32> {
        (0..8).map(|n| small(low32(mix(self.0 ^ n) % 1000)) / 1000.0).collect()
    }
}

/// All that a row is computed from, beside the rows before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its token.
    pub token: TokenId,
    /// The generation of its adapter; 0 is the base model.
    pub adapter: u64,
    /// A hash of the numbers that were injected; 0 where none were.
    pub injected: u64,
}

impl Row {
    /// A row of the base model with nothing injected.
    #[must_use]
    pub fn of(token: TokenId) -> Self {
        Self { token, adapter: 0, injected: 0 }
    }
}

/// The hash of injected numbers.
#[must_use]
pub fn injected(numbers: &[f32]) -> u64 {
    numbers.iter().fold(1, |hash, number| mix(hash ^ u64::from(number.to_bits())))
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

    fn ids<const N: usize>(ids: [u32; N]) -> [TokenId; N] {
        ids.map(TokenId::new)
    }

    #[test]
    fn every_token_the_adapter_and_injected_numbers_decide() {
        let base = Chain::of(&ids([1, 2, 3]), 0);
        for (tokens, adapter) in [([9, 2, 3], 0), ([1, 2, 9], 0), ([1, 2, 3], 1)] {
            assert_ne!(base, Chain::of(&ids(tokens), adapter));
        }
        let with = |numbers: &[f32]| {
            let row = Row { injected: injected(numbers), ..Row::of(TokenId::new(3)) };
            Chain::of(&ids([1, 2]), 0).then(row)
        };
        for numbers in [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]] {
            assert_ne!(base, with(&numbers));
        }
        assert_ne!(with(&[0.0, 1.0]), with(&[1.0, 0.0]));
    }

    #[test]
    fn masks_and_seeds_are_honoured() {
        let (chain, greedy) = (Chain::of(&ids([4, 5]), 0), SampleParams::default());
        let only = |bits: u32| TokenMask([bits].into());
        let sampled = chain.sample(32, &greedy, Some(&only(1 << 7)));
        assert_eq!(
            sampled,
            Ok(Answer::Sample { token: TokenId::new(7), logprob: 0.0, top: Vec::new() })
        );
        assert_eq!(chain.sample(32, &greedy, Some(&only(0))), Err(RowFault::EmptyMask));
        let seeded = |seed| {
            let params = SampleParams { temperature: 1.0, seed, ..SampleParams::default() };
            chain.next_token(1 << 20, &params)
        };
        assert_ne!(seeded(1), seeded(2));
    }
}
