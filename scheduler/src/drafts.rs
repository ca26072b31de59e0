//! Guesses by n-gram lookup: what followed the last time these tokens were seen.
//!
//! Guesses only ever cost rows: a step samples at each of them and keeps those it would have
//! chosen itself. Next: `commit.rs`.

use gimbal_batch::TokenId;

/// Tokens that must agree before a continuation is taken for a guess. Two gives many wrong
/// guesses in prose; prompt lookup decoding was published with three.
const AGREE: usize = 3;

/// How far back to look, in tokens: bounds the cost of a step.
const LOOK_BACK: usize = 1024;

/// Appends at most `drafts_max` guesses for what follows `length` tokens.
pub(crate) fn guess(
    token: impl Fn(usize) -> TokenId,
    length: usize,
    drafts_max: usize,
    drafts: &mut Vec<TokenId>,
) {
    let Some(newest) = length.checked_sub(AGREE) else { return };
    let first = newest.saturating_sub(LOOK_BACK);
    let agrees = |at: &usize| (0..AGREE).all(|i| token(at + i) == token(newest + i));
    if let Some(at) = (first..newest).rev().find(agrees) {
        let from = at + AGREE;
        drafts.extend((from..length.min(from + drafts_max)).map(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &[u32], drafts_max: usize, expect: &[u32]) {
        let mut drafts = Vec::new();
        guess(|at| TokenId::new(tokens[at]), tokens.len(), drafts_max, &mut drafts);
        let drafts: Vec<u32> = drafts.into_iter().map(TokenId::get).collect();
        assert_eq!(drafts, expect);
    }

    #[test]
    fn the_newest_agreement_is_continued() {
        check(&[1, 2, 3, 8, 1, 2, 3, 9, 7, 1, 2, 3], 2, &[9, 7]);
        check(&[1, 2, 3, 9, 7, 1, 2, 3], 1, &[9]);
        check(&[5, 5, 5, 5], 4, &[5]);
        check(&[1, 2, 3, 4], 4, &[]);
        check(&[1, 2], 4, &[]);
    }
}
