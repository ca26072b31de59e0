//! Rotary tables and how long-context models change them.

use std::f64::consts::PI;

use crate::graph::{Pair, RopeTable};

/// How the frequencies of plain RoPE are changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scaling {
    None,
    /// All are divided by a factor. **Source**: Chen et al. 2023, §3.2.
    Linear(f32),
    /// Each is divided by its own factor, and angles are as long as `magnitude` (Llama 3: 1).
    Factors {
        factors: Vec<f32>,
        magnitude: f32,
    },
    /// High frequencies stay, low ones are divided. **Source**: Peng et al. 2023, §3.2 and §3.4.
    Yarn {
        factor: f32,
        original: f32,
        fast: f32,
        slow: f32,
        magnitude: f32,
        /// The bounds between which frequencies go over are whole pairs (`truncate`).
        is_whole: bool,
    },
}

/// Names of the kinds, for error messages.
pub(super) const KINDS: &str = "default, dynamic, linear, llama3, longrope, yarn";

impl Scaling {
    pub(super) fn table(&self, theta: f32, dims: usize, pair: Pair) -> RopeTable {
        let mut table = RopeTable::plain(theta, dims, pair);
        match self {
            Self::None => {}
            Self::Linear(factor) => table.frequencies.iter_mut().for_each(|f| *f /= factor),
            Self::Factors { factors, magnitude } => {
                table.frequencies.iter_mut().zip(factors).for_each(|(f, by)| *f /= by);
                table.magnitude = *magnitude;
            }
            Self::Yarn { factor, original, fast, slow, magnitude, is_whole } => {
                // Which pair turns so many times within the original context.
                let pair_of = |turns: f32| {
                    let turns = f64::from(*original) / (f64::from(turns) * 2.0 * PI);
                    dims as f64 * turns.ln() / (2.0 * f64::from(theta).ln())
                };
                let (mut low, mut high) = (pair_of(*fast), pair_of(*slow));
                if *is_whole {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, high) = (low.max(0.0), high.min(dims as f64 - 1.0));
                for (i, f) in table.frequencies.iter_mut().enumerate() {
                    let divided = ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                    let plain = f64::from(*f);
                    let scaled = plain / f64::from(*factor) * divided + plain * (1.0 - divided);
                    #[expect(clippy::cast_possible_truncation, reason = "f32 is the table's type")]
                    let scaled = scaled as f32;
                    *f = scaled;
                }
                table.magnitude = *magnitude;
            }
        }
        table
    }

    /// What YaRN's attention factor is where the model names none, or a part of it where it names
    /// an `mscale`. **Source**: Peng et al. 2023, §3.4.
    pub(super) fn yarn_magnitude(factor: f32, mscale: f32) -> f32 {
        0.1 * mscale * factor.max(1.0).ln() + 1.0
    }

    /// Llama 3's factors: wavelengths longer than the original context are divided, short ones
    /// stay, those between go over smoothly. **Source**: Hugging Face `modeling_rope_utils.py`,
    /// `_compute_llama3_parameters`.
    pub(super) fn llama3(
        plain: &RopeTable,
        factor: f32,
        [low, high]: [f32; 2],
        original: f32,
    ) -> Self {
        let factor_of = |frequency: &f32| {
            let turns = original / (2.0 * std::f32::consts::PI / frequency);
            let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            1.0 / ((1.0 - smooth) / factor + smooth)
        };
        Self::Factors { factors: plain.frequencies.iter().map(factor_of).collect(), magnitude: 1.0 }
    }
}
