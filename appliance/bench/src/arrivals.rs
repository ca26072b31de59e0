//! When requests come in an open loop: a Poisson process, or a trace.
//!
//! Next: `script.rs`.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::error::BenchError;
use crate::rng::Rng;

/// Lines of a trace.
const VISITS_MAX: usize = 1_000_000;
/// A week: a trace's times are offsets from its beginning, not dates.
const AT_MS_MAX: f64 = 7.0 * 86_400e3;

/// Requests that came somewhere once, by time.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Vec<Visit>>);

#[derive(Clone, Copy, Debug, Deserialize)]
struct Visit {
    at_ms: f64,
    prompt_tokens: u32,
    output_tokens: u32,
}

impl Trace {
    /// Reads JSON lines: `{"at_ms": 0, "prompt_tokens": 128, "output_tokens": 64}`; empty lines
    /// are skipped, members beside these are allowed.
    ///
    /// # Errors
    /// The line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self, BenchError> {
        let mut visits = Vec::new();
        for (number, line) in (1..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty()) {
            let wrong = |what: &str| {
                let shape = r#"{"at_ms": 0, "prompt_tokens": 128, "output_tokens": 64}"#;
                BenchError::Usage(format!("line {number}: {what}; a line is {shape}"))
            };
            let visit: Visit = serde_json::from_str(line).map_err(|e| wrong(&e.to_string()))?;
            if !(0.0..=AT_MS_MAX).contains(&visit.at_ms) {
                return Err(wrong("at_ms is from 0 to a week"));
            }
            if visit.prompt_tokens == 0 || visit.output_tokens == 0 {
                return Err(wrong("tokens are at least 1"));
            }
            if visits.len() == VISITS_MAX {
                return Err(wrong("a trace has at most 1,000,000 requests"));
            }
            visits.push(visit);
        }
        if visits.is_empty() {
            return Err(BenchError::Usage("no request in it".to_owned()));
        }
        visits.sort_by(|a: &Visit, b| a.at_ms.total_cmp(&b.at_ms));
        Ok(Self(Arc::new(visits)))
    }

    /// Its requests; there is one.
    #[must_use]
    pub fn requests(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Tokens of the prompt and of the answer.
    pub(crate) fn lengths(&self, index: u32) -> (u32, u32) {
        // Warm-up may ask for more than there are.
        let visit = &self.0[index as usize % self.0.len()];
        (visit.prompt_tokens, visit.output_tokens)
    }

    fn due(&self, index: u32) -> Option<Duration> {
        let visit = self.0.get(index as usize)?;
        Some(Duration::from_secs_f64(visit.at_ms / 1e3))
    }
}

/// Times from the beginning of a run, one after the other.
#[derive(Debug)]
pub(crate) enum Arrivals {
    Poisson { rate: f64, rng: Rng, at_s: f64 },
    Trace { trace: Trace, index: u32 },
}

impl Arrivals {
    /// So many a second on average; times between them are exponential.
    pub(crate) fn poisson(rate: f64, rng: Rng) -> Self {
        Self::Poisson { rate, rng, at_s: 0.0 }
    }

    /// As they came.
    pub(crate) fn trace(trace: Trace) -> Self {
        Self::Trace { trace, index: 0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match self {
            Self::Poisson { rate, rng, at_s } => {
                *at_s += rng.exponential() / *rate;
                Some(Duration::from_secs_f64(*at_s))
            }
            Self::Trace { trace, index } => {
                let due = trace.due(*index)?;
                *index += 1;
                Some(due)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poisson_process_has_its_rate_and_its_scatter() {
        let times: Vec<f64> = Arrivals::poisson(50.0, Rng::of(&[4]))
            .take(10_000)
            .map(|due| due.as_secs_f64())
            .collect();
        let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 50.0 - 1.0).abs() < 0.05, "mean {mean}");
        // An exponential's deviation is its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "variance {variance}");
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
    }

    #[test]
    fn a_trace_is_sorted_and_ends() {
        let text = "{\"at_ms\": 1500.5, \"prompt_tokens\": 3, \"output_tokens\": 4}\n\n\
                    {\"at_ms\": 0, \"prompt_tokens\": 1, \"output_tokens\": 2, \"user\": 5}\n";
        let trace = Trace::parse(text).expect("a trace");
        let times: Vec<Duration> = Arrivals::trace(trace.clone()).collect();
        assert_eq!(times, [Duration::ZERO, Duration::from_micros(1_500_500)]);
        assert_eq!((trace.requests(), trace.lengths(0), trace.lengths(1)), (2, (1, 2), (3, 4)));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, expect) in [
            ("", "no request"),
            ("{\"at_ms\": 0, \"prompt_tokens\": 1, \"output_tokens\": 1}\nx", "line 2"),
            ("{\"at_ms\": 0}", "prompt_tokens"),
            ("{\"at_ms\": -1, \"prompt_tokens\": 1, \"output_tokens\": 1}", "from 0"),
            ("{\"at_ms\": 1e15, \"prompt_tokens\": 1, \"output_tokens\": 1}", "a week"),
            ("{\"at_ms\": 0, \"prompt_tokens\": 1, \"output_tokens\": 0}", "at least 1"),
        ] {
            let why = Trace::parse(text).expect_err(text).to_string();
            assert!(why.contains(expect), "{text}: {why}");
        }
    }
}
