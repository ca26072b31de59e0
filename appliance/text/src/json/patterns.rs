//! Regular expressions of a `tokenizer.json`, run by ourselves: the crate's own run without a limit
//! of time, and stop silently (the rest of the text is cut differently) at their limit of steps.
//!
//! The other parts of normalisers and pre-tokenizers are the crate's. Next: `json/bound.rs`.

use ::tokenizers::tokenizer::pattern::Pattern;
use ::tokenizers::{
    NormalizedString, Normalizer, NormalizerWrapper, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper, SplitDelimiterBehavior,
};
use fancy_regex::{Regex, RegexBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::patience::{Over, Patience};

/// Backtracking steps one match may take.
const BACKTRACK_MAX: usize = 1_000_000;
/// Matches between two looks at the clock.
const MATCHES_PER_LOOK: usize = 16;

/// A part of a normaliser or pre-tokenizer.
#[derive(Debug)]
enum Step<W> {
    Crate(Box<W>),
    /// Cuts at matches.
    Split {
        regex: Box<Regex>,
        behavior: SplitDelimiterBehavior,
        invert: bool,
    },
    /// Replaces matches.
    Replace {
        regex: Box<Regex>,
        content: String,
    },
}

/// A normaliser, or a pre-tokenizer: its steps in order.
#[derive(Debug)]
pub(crate) struct Steps<W>(Vec<Step<W>>);

impl<W: DeserializeOwned> Steps<W> {
    /// Reads a part of a file; sequences are lists of steps in `field`.
    pub(super) fn new(value: &Value, field: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        // Sequences in sequences are no deeper than JSON may be.
        let mut waiting = vec![value];
        while let Some(value) = waiting.pop() {
            match (value["type"].as_str(), value[field].as_array()) {
                (Some("Sequence"), Some(inner)) => waiting.extend(inner.iter().rev()),
                _ => steps.push(Self::step(value)?),
            }
        }
        Ok(Self(steps))
    }

    fn step(value: &Value) -> Result<Step<W>, String> {
        // The crate knows what a whole part must have.
        let whole: W = super::file::part(value.clone())?;
        let Some(pattern) = value["pattern"]["Regex"].as_str() else {
            return Ok(Step::Crate(Box::new(whole)));
        };
        let regex = || {
            let regex = RegexBuilder::new(pattern).backtrack_limit(BACKTRACK_MAX).build();
            regex.map(Box::new).map_err(|e| e.to_string())
        };
        match (value["type"].as_str(), value["content"].as_str()) {
            (Some("Split"), _) => {
                let behavior = super::file::part(value["behavior"].clone())?;
                let invert = value["invert"].as_bool().unwrap_or_default();
                Ok(Step::Split { regex: regex()?, behavior, invert })
            }
            (Some("Replace"), Some(content)) => {
                Ok(Step::Replace { regex: regex()?, content: content.to_owned() })
            }
            _ => Ok(Step::Crate(Box::new(whole))),
        }
    }
}

impl Steps<NormalizerWrapper> {
    pub(super) fn normalize(
        &self,
        text: &mut NormalizedString,
        patience: &Patience,
    ) -> ::tokenizers::Result<()> {
        for step in &self.0 {
            match step {
                Step::Crate(part) => part.normalize(text)?,
                Step::Replace { regex, content } => {
                    text.replace(Bounded { regex, invert: false, patience }, content)?;
                }
                Step::Split { .. } => {}
            }
        }
        Ok(())
    }
}

impl Steps<PreTokenizerWrapper> {
    pub(super) fn pre_tokenize(
        &self,
        words: &mut PreTokenizedString,
        patience: &Patience,
    ) -> ::tokenizers::Result<()> {
        for step in &self.0 {
            match step {
                Step::Crate(part) => part.pre_tokenize(words)?,
                Step::Split { regex, behavior, invert } => words.split(|_, word| {
                    word.split(Bounded { regex, invert: *invert, patience }, *behavior)
                })?,
                Step::Replace { .. } => {}
            }
        }
        Ok(())
    }
}

/// An expression within the patience for one text.
struct Bounded<'r> {
    regex: &'r Regex,
    invert: bool,
    patience: &'r Patience,
}

impl Pattern for Bounded<'_> {
    fn find_matches(&self, text: &str) -> ::tokenizers::Result<Vec<((usize, usize), bool)>> {
        if text.is_empty() {
            return Ok(vec![((0, 0), self.invert)]);
        }
        let (mut parts, mut done) = (Vec::new(), 0);
        for (i, found) in self.regex.find_iter(text).enumerate() {
            if i % MATCHES_PER_LOOK == 0 {
                self.patience.check()?;
            }
            let found = found.map_err(|_| Over)?;
            if done != found.start() {
                parts.push(((done, found.start()), self.invert));
            }
            parts.push(((found.start(), found.end()), !self.invert));
            done = found.end();
        }
        if done != text.len() {
            parts.push(((done, text.len()), self.invert));
        }
        Ok(parts)
    }
}
