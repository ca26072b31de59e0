//! What a device cannot do for a request: judged in one place, for whoever admits requests.
//!
//! Lengths are not judged here; they depend on how steps are planned. Next: `check.rs`.

use std::fmt;

use crate::{Limits, SampleParams};

/// Why a device cannot choose tokens as a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cannot {
    /// It never can.
    Do(&'static str),
    /// It can, but not so many.
    SoMany {
        /// The field that asks.
        field: &'static str,
        /// What is asked for.
        what: &'static str,
        /// How many.
        asked: u32,
        /// How many there may be.
        max: u32,
    },
}

impl fmt::Display for Cannot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Do(what) => f.write_str(what),
            Self::SoMany { what, asked, max, .. } => {
                write!(f, "{asked} {what} asked, at most {max} given")
            }
        }
    }
}

impl std::error::Error for Cannot {}

impl Limits {
    /// Whether the device can choose tokens by these parameters; `masked` where a grammar decides.
    ///
    /// # Errors
    /// The first thing it cannot do.
    pub fn accepts(&self, params: &SampleParams, masked: bool) -> Result<(), Cannot> {
        let able = self.sampling;
        let logprobs = params.logprobs.map_or(0, u32::from);
        within("logprobs", "alternatives", logprobs, u32::from(able.logprobs_max))?;
        let ids = u32::try_from(params.logprob_ids.len()).unwrap_or(u32::MAX);
        within("logprob_token_ids", "tokens with log probabilities", ids, able.scores_max)?;
        if !params.is_greedy() {
            if !able.random {
                return Err(Cannot::Do("temperature above 0"));
            }
            if params.top_k == 0 && able.top_k_max < u32::MAX {
                return Err(Cannot::Do("a random choice without top_k"));
            }
            within("top_k", "candidates", params.top_k, able.top_k_max)?;
        }
        if !able.penalties && params.has_penalties() {
            return Err(Cannot::Do("a repetition, presence or frequency penalty"));
        }
        if !able.masks && masked {
            return Err(Cannot::Do("a grammar"));
        }
        let ends = u32::try_from(params.ends.len()).unwrap_or(u32::MAX);
        within("min_tokens", "tokens that end an answer", ends, able.ends_max)
    }

    /// Whether the device can score a prompt's tokens, with so many alternatives to each.
    ///
    /// # Errors
    /// It cannot, or not with so many.
    pub fn accepts_scores(&self, top: u8) -> Result<(), Cannot> {
        if self.sampling.scores_max == 0 {
            return Err(Cannot::Do("log probabilities of a prompt"));
        }
        let max = self.sampling.logprobs_max;
        within("prompt_logprobs", "alternatives", top.into(), max.into())
    }
}

fn within(field: &'static str, what: &'static str, asked: u32, max: u32) -> Result<(), Cannot> {
    if asked <= max { Ok(()) } else { Err(Cannot::SoMany { field, what, asked, max }) }
}

#[cfg(test)]
mod tests {
    use crate::*;

    fn check(sampling: Sampling, params: &SampleParams, masked: bool, expect: Option<&str>) {
        let limits = Limits { sampling, ..check::tests::limits() };
        let found = limits.accepts(params, masked).map_err(|cannot| cannot.to_string());
        assert_eq!(found.err().as_deref(), expect, "{params:?} of {sampling:?}");
    }

    #[test]
    fn what_a_device_cannot_do_is_named_with_numbers() {
        let greedy = SampleParams::default;
        let hot = |top_k| SampleParams { temperature: 0.5, top_k, ..greedy() };
        let host = Sampling::HOST;
        let neuron = Sampling { top_k_max: 256, penalties: false, ends_max: 2, ..host };
        let plain = Sampling { random: false, masks: false, logprobs_max: 0, ..host };
        for top_k in [0, 1, u32::MAX] {
            check(host, &hot(top_k), true, None);
        }
        check(neuron, &hot(1), true, None);
        check(neuron, &hot(256), false, None);
        check(neuron, &hot(257), false, Some("257 candidates asked, at most 256 given"));
        check(neuron, &hot(0), false, Some("a random choice without top_k"));
        check(neuron, &greedy(), false, None);
        let penalty = "a repetition, presence or frequency penalty";
        check(neuron, &SampleParams { presence_penalty: 0.1, ..greedy() }, false, Some(penalty));
        let ends = |n: u32| SampleParams {
            ends: (0..n).map(TokenId::new).collect(),
            min_tokens: 1,
            ..greedy()
        };
        check(neuron, &ends(2), false, None);
        let three = "3 tokens that end an answer asked, at most 2 given";
        check(neuron, &ends(3), false, Some(three));
        check(plain, &greedy(), false, None);
        check(plain, &hot(1), false, Some("temperature above 0"));
        check(plain, &greedy(), true, Some("a grammar"));
        let logprobs = |n| SampleParams { logprobs: Some(n), ..greedy() };
        check(plain, &logprobs(0), false, None);
        check(plain, &logprobs(1), false, Some("1 alternatives asked, at most 0 given"));
        check(host, &logprobs(20), false, None);
        check(host, &logprobs(21), false, Some("21 alternatives asked, at most 20 given"));
        let ids = [3, 1].map(TokenId::new).into();
        let ids = SampleParams { logprobs: Some(0), logprob_ids: ids, ..greedy() };
        check(host, &ids, false, None);
        let one = Sampling { scores_max: 1, ..host };
        let two = "2 tokens with log probabilities asked, at most 1 given";
        check(one, &ids, false, Some(two));
    }

    #[test]
    fn prompts_are_scored_where_tokens_are() {
        let check = |sampling, top, expect: Option<&str>| {
            let limits = Limits { sampling, ..check::tests::limits() };
            let found = limits.accepts_scores(top).map_err(|cannot| cannot.to_string());
            assert_eq!(found.err().as_deref(), expect);
        };
        check(Sampling::HOST, 20, None);
        check(Sampling::HOST, 21, Some("21 alternatives asked, at most 20 given"));
        let none = Sampling { scores_max: 0, ..Sampling::HOST };
        check(none, 0, Some("log probabilities of a prompt"));
    }
}
