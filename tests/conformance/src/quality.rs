//! Distances between distributions over the vocabulary.

use anyhow::ensure;

/// Agreement with the reference at positions whose gap is at least a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Positions.
    pub positions: u32,
    /// Equal choices.
    pub equal: u32,
}

impl Agreement {
    /// Counts one position.
    pub fn count(&mut self, is_equal: bool) {
        self.positions += 1;
        self.equal += u32::from(is_equal);
    }

    /// Share of equal choices.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.equal) / f64::from(self.positions.max(1))
    }
}

/// KL(p ‖ q) of two rows of logits, in nats.
///
/// # Errors
/// The rows differ in length.
pub fn kl(p: &[f32], q: &[f32]) -> anyhow::Result<f64> {
    ensure!(p.len() == q.len(), "{} and {} logits", p.len(), q.len());
    let (p_sum, q_sum) = (log_sum_exp(p), log_sum_exp(q));
    let term = |(p, q): (&f32, &f32)| {
        let (p, q) = (f64::from(*p) - p_sum, f64::from(*q) - q_sum);
        p.exp() * (p - q)
    };
    Ok(p.iter().zip(q).map(term).sum())
}

/// The token with the highest logit.
#[must_use]
pub fn choice(logits: &[f32]) -> u32 {
    gimbal_hal::sample::argmax(logits).map_or(0, |(token, _)| token)
}

/// The 2.5 % and 97.5 % quantiles of the ratio of means of paired samples over 2,000 resamplings.
#[must_use]
pub fn bootstrap_ratio(ours: &[f64], theirs: &[f64]) -> (f64, f64) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % n as u64).unwrap_or(0)
    };
    let mut ratios: Vec<f64> = (0..2000)
        .map(|_| {
            let picks = (0..ours.len()).map(|_| next(ours.len()));
            let (a, b) = picks.fold((0.0, 0.0), |(a, b), i| (a + ours[i], b + theirs[i]));
            a / b
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    (ratios[50], ratios[1949])
}

pub(crate) fn log_sum_exp(x: &[f32]) -> f64 {
    let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let most = f64::from(most);
    most + x.iter().map(|x| (f64::from(*x) - most).exp()).sum::<f64>().ln()
}
