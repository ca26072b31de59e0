//! Numbers over one row of logits: the highest, the sum of all, alternatives, a token's place.
//!
//! A row is read some times for each score of a prompt, so all that reads a whole row is written in
//! lanes, which every compiler turns into vectors. Sums have one order whatever they become: equal
//! logits give equal bits on every path. Nothing is chosen here. Next: `sample.rs`.

use gimbal_batch::{Answer, RowFault, Score, TokenId};

/// Numbers that are read together.
const LANES: usize = 16;
/// Numbers whose sum is kept in f32 before it is added to the rest in f64: with more, what is lost shows
/// in the sixth digit.
const RUN: usize = 256;
/// Below this `exp` is taken as its value here: 1e-38 of the most probable token.
const EXP_MIN: f32 = -87.0;
/// Coefficients of `exp` on `[-ln2/2, ln2/2]`, highest first. **Source**: Cephes `expf.c`.
const EXP: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
/// `ln 2` in two parts, so that `x - n·ln2` loses nothing.
const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
/// 1.5 · 2²³: added to a number, it leaves the nearest whole one in the lowest bits.
const WHOLE: f32 = 12_582_912.0;

/// How probable tokens are by a row of logits, and so many alternatives. A token the row does not have
/// is the last of all.
///
/// # Errors
/// A logit is no finite number.
pub fn score(logits: &[f32], ids: &[TokenId], top: u8) -> Result<Answer, RowFault> {
    finite(logits)?;
    let log_sum = log_sum_exp(logits);
    let of = |id: &TokenId| match logits.get(id.index()) {
        Some(logit) => Score { logprob: logit - log_sum, rank: 1 + above(logits, *logit) },
        None => Score { logprob: f32::MIN, rank: u32::MAX },
    };
    let scores = ids.iter().map(of).collect();
    let mut top = top_of(logits, usize::from(top));
    top.iter_mut().for_each(|(_, logit)| *logit -= log_sum);
    Ok(Answer::Score { scores, top })
}

/// The highest value and its index; the lowest index among equals.
#[must_use]
pub fn argmax(values: &[f32]) -> Option<(u32, f32)> {
    let most = highest(values);
    let index = values.iter().position(|v| *v == most)?;
    Some((u32::try_from(index).ok()?, most))
}

/// The token of each logit, in order.
pub(super) fn all_ids() -> impl Iterator<Item = TokenId> {
    (0..).map(TokenId::new)
}

/// Refuses a row with a value that is no finite number.
pub(super) fn finite(values: &[f32]) -> Result<(), RowFault> {
    // x·0 is 0 for finite x and NaN otherwise; the sum vectorises where a test of each does not.
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x * 0.0;
        }
    }
    let rest: f32 = rest.iter().map(|x| x * 0.0).sum();
    if sums.iter().sum::<f32>() + rest == 0.0 { Ok(()) } else { Err(RowFault::NotFinite) }
}

/// The highest of numbers; what is no number does not count.
fn highest(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (most, x) in most.iter_mut().zip(chunk) {
            *most = if *x > *most { *x } else { *most };
        }
    }
    most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, x| most.max(*x))
}

/// `ln Σ e^x`.
pub(super) fn log_sum_exp(logits: &[f32]) -> f32 {
    let most = highest(logits);
    let mut sum = 0.0_f64;
    for run in logits.chunks(RUN) {
        let (chunks, rest) = run.as_chunks::<LANES>();
        let mut sums = [0.0_f32; LANES];
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += exp(x - most);
            }
        }
        let all = sums.iter().copied().chain(rest.iter().map(|x| exp(x - most)));
        sum += all.map(f64::from).sum::<f64>();
    }
    #[expect(clippy::cast_possible_truncation, reason = "f32 is the logits' type")]
    let log = sum.ln() as f32;
    most + log
}

/// `e^x` for `x` up to 0, without a branch or a table. **Source**: Cephes `expf.c`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = if x > EXP_MIN { x } else { EXP_MIN };
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    let r = x - n * LN2.0 - n * LN2.1;
    let mut poly = EXP[0];
    for c in &EXP[1..] {
        poly = poly * r + c;
    }
    let y = poly * r * r + r + 1.0;
    // The lowest bits of `shifted` are n; what is above them leaves at the left.
    y * f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// How many are higher.
fn above(values: &[f32], than: f32) -> u32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut counts = [0_u32; LANES];
    for chunk in chunks {
        for (count, x) in counts.iter_mut().zip(chunk) {
            *count += u32::from(*x > than);
        }
    }
    counts.iter().sum::<u32>() + rest.iter().map(|x| u32::from(*x > than)).sum::<u32>()
}

/// The `count` highest, highest first; the lowest token first among equals.
pub(super) fn top_of(logits: &[f32], count: usize) -> Vec<(TokenId, f32)> {
    let mut top: Vec<(TokenId, f32)> = Vec::with_capacity(count + 1);
    if count == 0 {
        return top;
    }
    let mut ids = all_ids();
    for run in logits.chunks(RUN) {
        let least = top.get(count - 1).map_or(f32::NEG_INFINITY, |(_, least)| *least);
        if top.len() == count && highest(run) <= least {
            ids.nth(run.len() - 1);
            continue;
        }
        for (id, logit) in ids.by_ref().take(run.len()).zip(run) {
            let at = top.partition_point(|(_, other)| other >= logit);
            if at < count {
                top.insert(at, (id, *logit));
                top.truncate(count);
            }
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as models make them: most are far below a few.
    fn row(seed: u64, len: usize) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f32::from(u16::try_from(state >> 48).expect("16 bits")) / 3000.0 - 12.0
        };
        (0..len).map(|_| next()).collect()
    }

    fn exact(logits: &[f32]) -> f64 {
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|x| (f64::from(*x) - f64::from(most)).exp()).sum();
        f64::from(most) + sum.ln()
    }

    #[test]
    fn sums_are_exact_to_the_sixth_digit() {
        for len in [1, 2, 15, 16, 17, 255, 257, 1000, 49_152] {
            for seed in 0..4 {
                let logits = row(seed, len);
                let error = f64::from(log_sum_exp(&logits)) - exact(&logits);
                assert!(error.abs() < 2e-6, "{len} logits of seed {seed}: {error}");
            }
        }
        assert_eq!(log_sum_exp(&[3.5]).to_bits(), 3.5_f32.to_bits());
        let wide = [f32::MAX, f32::MIN, 0.0];
        assert_eq!(log_sum_exp(&wide).to_bits(), f32::MAX.to_bits(), "nothing overflows");
    }

    #[test]
    fn exp_is_within_two_units_of_the_last_place() {
        for step in 0..8_700_u16 {
            let x = -f32::from(step) / 100.0;
            let (found, expect) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expect - 1.0).abs() < 2.4e-7, "exp({x}) is {found}, not {expect}");
        }
    }

    #[test]
    fn alternatives_are_those_of_a_sort() {
        for (len, count) in [(5, 2), (5, 5), (5, 9), (300, 20), (49_152, 20), (49_152, 1)] {
            let mut logits = row(7, len);
            // Equals, also across runs.
            for at in (0..len).step_by(97) {
                logits[at] = 9.75;
            }
            let mut sorted: Vec<_> = all_ids().zip(logits.iter().copied()).collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            sorted.truncate(count);
            assert_eq!(top_of(&logits, count), sorted, "{count} of {len}");
        }
        assert_eq!(top_of(&[1.0], 0), []);
    }

    #[test]
    fn a_score_is_a_logprob_and_a_place() {
        let logits = [0.0, 2.0, 1.0, 2.0];
        let ids = [1, 3, 2, 0, 4].map(TokenId::new);
        let Ok(Answer::Score { scores, top }) = score(&logits, &ids, 2) else { panic!("finite") };
        let ranks: Vec<_> = scores.iter().map(|score| score.rank).collect();
        assert_eq!(ranks, [1, 1, 3, 4, u32::MAX], "equals share a place");
        let expect = 1.0 - exact(&logits);
        assert!((f64::from(scores[2].logprob) - expect).abs() < 1e-6);
        assert_eq!(top, [(ids[0], scores[0].logprob), (ids[1], scores[1].logprob)]);
        assert_eq!(score(&[0.0, f32::NAN], &ids, 1), Err(RowFault::NotFinite));
        assert_eq!(score(&[0.0, f32::NEG_INFINITY], &ids, 1), Err(RowFault::NotFinite));
    }
}
