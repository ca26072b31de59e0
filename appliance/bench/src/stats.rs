//! Quantiles, medians, and how sure a ratio of medians is. Pure functions over numbers.
//!
//! Next: `figures.rs`.

use serde::Serialize;

use crate::rng::Rng;

/// Resamplings of a bootstrap: the ends of the interval move by less than 1 % of its width.
const RESAMPLINGS: usize = 10_000;

/// How values are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: f64,
    /// Half are below.
    pub p50: f64,
    /// 90 % are below.
    pub p90: f64,
    /// 99 % are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of values, if there are any.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        Some(Self {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            p50: quantile(&values, 0.5),
            p90: quantile(&values, 0.9),
            p99: quantile(&values, 0.99),
            max,
        })
    }
}

/// A ratio of two medians and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Median of the first side over median of the second.
    pub ratio: f64,
    /// 2.5 % quantile of the bootstrap; absent where a side has fewer than two runs.
    pub low: Option<f64>,
    /// 97.5 % quantile.
    pub high: Option<f64>,
}

/// The value below which the share `q` of sorted values lies, between neighbours by a straight
/// line (numpy's default), 0 where there are none.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = q.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_possible_truncation, reason = "at most the last index")]
    #[expect(clippy::cast_sign_loss, reason = "both factors are at least 0")]
    let below = at as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

/// The median, if there are values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| quantile(&sorted, 0.5))
}

/// The ratio of the medians of runs that alternated, pair by pair.
///
/// A pair ran one after the other, with the same prompts: pairs are resampled, not runs, so that a
/// drift of the machine over a bench does not widen the interval. No ratio without a pair or over
/// a median of 0.
#[must_use]
pub fn ratio_of_medians(pairs: &[(f64, f64)], seed: u64) -> Option<Ratio> {
    let ratio = ratio(pairs)?;
    if pairs.len() < 2 {
        return Some(Ratio { ratio, low: None, high: None });
    }
    let mut rng = Rng::of(&[seed, 0xb007]);
    let mut ratios: Vec<f64> = (0..RESAMPLINGS)
        .filter_map(|_| {
            let picks: Vec<_> = pairs.iter().map(|_| pairs[rng.index(pairs.len())]).collect();
            self::ratio(&picks)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |q| (!ratios.is_empty()).then(|| quantile(&ratios, q));
    Some(Ratio { ratio, low: at(0.025), high: at(0.975) })
}

fn ratio(pairs: &[(f64, f64)]) -> Option<f64> {
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (first, second) = (median(&first)?, median(&second)?);
    (second > 0.0).then(|| first / second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        // numpy.percentile([1, 2, 3, 4], [0, 25, 50, 90, 99, 100])
        let values = [1.0, 2.0, 3.0, 4.0];
        for (q, expect) in
            [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (0.9, 3.7), (0.99, 3.97), (1.0, 4.0)]
        {
            assert!((quantile(&values, q) - expect).abs() < 1e-12, "{q}");
        }
        assert!(quantile(&[], 0.5).abs() < 1e-12);
        assert!((quantile(&[7.0], 0.99) - 7.0).abs() < 1e-12);
    }

    #[test]
    fn a_spread_sorts_and_needs_a_value() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).expect("three values");
        assert!((spread.mean - 2.0).abs() < 1e-12);
        assert!((spread.p50 - 2.0).abs() < 1e-12);
        assert!((spread.max - 3.0).abs() < 1e-12);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn an_interval_holds_its_ratio_and_is_the_seeds() {
        let pairs: Vec<(f64, f64)> =
            (0..9).map(|i| (200.0 + f64::from(i), 100.0 + f64::from(i * 7 % 9))).collect();
        let found = ratio_of_medians(&pairs, 1).expect("nine pairs");
        assert!((found.ratio - 204.0 / 104.0).abs() < 1e-12);
        let (low, high) = (found.low.expect("a low end"), found.high.expect("a high end"));
        assert!(low < found.ratio && found.ratio < high && low > 1.8 && high < 2.1, "{found:?}");
        assert_eq!(ratio_of_medians(&pairs, 1), Some(found));
    }

    #[test]
    fn a_common_drift_does_not_widen_the_interval() {
        // The machine halves its speed in the middle; the first side is always 1.5 times faster.
        let pairs: Vec<(f64, f64)> =
            [90.0, 92.0, 45.0, 46.0, 91.0].iter().map(|speed| (speed * 1.5, *speed)).collect();
        let found = ratio_of_medians(&pairs, 5).expect("five pairs");
        assert!((found.low.unwrap_or(0.0) - 1.5).abs() < 1e-9, "{found:?}");
        assert!((found.high.unwrap_or(0.0) - 1.5).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn one_pair_has_a_ratio_and_no_interval() {
        let found = ratio_of_medians(&[(3.0, 2.0)], 1).expect("a pair");
        assert_eq!(found, Ratio { ratio: 1.5, low: None, high: None });
        assert_eq!(ratio_of_medians(&[], 1), None);
        assert_eq!(ratio_of_medians(&[(1.0, 0.0)], 1), None);
    }
}
