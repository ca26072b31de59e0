//! What is asked in one run: every request by its number, from the seed alone.
//!
//! The same number has the same lengths and text on every side, so sides are compared on equal
//! work; every run has texts of its own, so a prefix cache holds nothing but the shared prefix.
//! Next: `attempt.rs`.

use std::time::Duration;

use crate::arrivals::Trace;
use crate::lengths::Lengths;
use crate::rng::Rng;
use crate::wire::{Api, Text};
use crate::words::Vocabulary;

/// What the random streams of a run are for.
#[derive(Clone, Copy, Debug)]
enum For {
    Prefix,
    Lengths,
    Text,
    Arrivals,
}

/// One request to make.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) index: u32,
    /// When to send it, in an open loop.
    pub(crate) due: Option<Duration>,
    pub(crate) prompt_tokens: u32,
    pub(crate) output_tokens: u32,
    pub(crate) body: String,
}

/// What all runs of a server share.
#[derive(Clone, Debug)]
pub(crate) struct Casting {
    pub(crate) api: Api,
    pub(crate) model: Option<String>,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) prompt: Lengths,
    pub(crate) output: Lengths,
    pub(crate) prefix_tokens: u32,
    pub(crate) seed: u64,
}

/// The requests of one run.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    casting: Casting,
    prefix: String,
    run: u64,
    trace: Option<Trace>,
}

impl Script {
    /// The script of a run, which is a number no other run of the bench has.
    pub(crate) fn new(casting: &Casting, run: u64, trace: Option<Trace>) -> Self {
        // One prefix for the whole bench, as a deployment has one system prompt.
        let mut rng = Rng::of(&[casting.seed, For::Prefix as u64]);
        let prefix = match casting.prefix_tokens {
            0 => String::new(),
            tokens => casting.vocabulary.text(tokens, &mut rng),
        };
        Self { casting: casting.clone(), prefix, run, trace }
    }

    /// Random numbers for the time between arrivals.
    pub(crate) fn arrivals(&self) -> Rng {
        Rng::of(&[self.casting.seed, For::Arrivals as u64, self.run])
    }

    /// A request by its number.
    pub(crate) fn ask(&self, index: u32, due: Option<Duration>) -> Ask {
        let casting = &self.casting;
        let rng = |what: For| Rng::of(&[casting.seed, what as u64, self.run, u64::from(index)]);
        let (unique, output_tokens) = match &self.trace {
            Some(trace) => trace.lengths(index),
            None => {
                let mut rng = rng(For::Lengths);
                (casting.prompt.sample(&mut rng), casting.output.sample(&mut rng))
            }
        };
        let words = casting.vocabulary.words_of(unique);
        let prompt = casting.vocabulary.text(words, &mut rng(For::Text));
        let text = Text { prefix: &self.prefix, prompt: &prompt };
        Ask {
            index,
            due,
            prompt_tokens: unique.saturating_add(casting.prefix_tokens),
            output_tokens,
            body: casting.api.body(casting.model.as_deref(), &text, output_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn casting(seed: u64, prefix_tokens: u32) -> Casting {
        Casting {
            api: Api::Chat,
            model: None,
            vocabulary: Vocabulary::assumed(),
            prompt: Lengths::Uniform(5, 50),
            output: Lengths::Fixed(3),
            prefix_tokens,
            seed,
        }
    }

    #[test]
    fn a_request_is_its_seed_run_and_number() {
        let body =
            |seed, run, index| Script::new(&casting(seed, 4), run, None).ask(index, None).body;
        assert_eq!(body(1, 2, 3), body(1, 2, 3));
        for other in [body(2, 2, 3), body(1, 3, 3), body(1, 2, 4)] {
            assert_ne!(other, body(1, 2, 3));
        }
    }

    #[test]
    fn runs_share_the_prefix_and_nothing_else() {
        let message = |run, index, at: usize| {
            let ask = Script::new(&casting(1, 20), run, None).ask(index, None);
            let body: serde_json::Value = serde_json::from_str(&ask.body).expect("JSON");
            body["messages"][at]["content"].as_str().expect("text").to_owned()
        };
        assert_eq!(message(0, 0, 0), message(1, 7, 0));
        assert_eq!(message(0, 0, 0).split(' ').count(), 20);
        assert_ne!(message(0, 0, 1), message(1, 0, 1));
    }
}
