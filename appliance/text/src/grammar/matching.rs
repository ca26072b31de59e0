//! A compiled grammar, and how far one answer has come in it.
//!
//! Next: `vocabulary.rs`.

use std::sync::{Arc, Mutex, PoisonError};

use llguidance::{Matcher, ParserFactory};

use super::{GrammarError, GrammarSource};

/// Matchers of a grammar that wait for the next answer. What one has learnt of its expressions is
/// worth keeping: the first masks of a new one take ten times as long.
const SPARE_MAX: usize = 8;

/// A compiled grammar.
pub struct Grammar {
    /// At its beginning, never moved.
    first: Matcher,
    spare: Mutex<Vec<Matcher>>,
}

impl Grammar {
    pub(super) fn new(
        factory: &ParserFactory,
        source: &GrammarSource,
    ) -> Result<Self, GrammarError> {
        let mut first = Matcher::new(factory.create_parser(source.rules()?));
        // A grammar that nothing can begin is found here, not in the middle of an answer.
        let begins = first.compute_mask_or_eos().map(|mask| mask.num_set() > 0);
        match (first.get_error(), begins) {
            (Some(error), _) => Err(GrammarError(shortened(&error))),
            (None, Err(error)) => Err(GrammarError(shortened(&error.to_string()))),
            (None, Ok(false)) => Err(GrammarError("no token of the model can begin it".to_owned())),
            (None, Ok(true)) => Ok(Self { first, spare: Mutex::default() }),
        }
    }

    /// Begins an answer.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Matching {
        let spare = self.lock().pop();
        let is_fresh = spare.is_none();
        let matcher = spare.unwrap_or_else(|| self.fresh());
        Matching { matcher: Some(matcher), of: Arc::clone(self), is_fresh, taken: Vec::new() }
    }

    /// One that has learnt nothing. Copies that share what they learn would wait for each other.
    fn fresh(&self) -> Matcher {
        self.first.deep_clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Matcher>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

/// One answer in a grammar.
pub struct Matching {
    /// Always there until it is dropped.
    matcher: Option<Matcher>,
    of: Arc<Grammar>,
    /// It served no answer before.
    is_fresh: bool,
    /// The tokens that came.
    taken: Vec<u32>,
}

impl Matching {
    /// Which tokens may come next, a bit each: token `t` is bit `t % 32` of word `t / 32`. At the end
    /// of the grammar these are the tokens that end an answer.
    ///
    /// # Errors
    /// No token can come, or finding out passes a limit.
    pub fn mask(&mut self) -> Result<Vec<u32>, GrammarError> {
        let mask = self.renewed(Matcher::compute_mask_or_eos)?;
        if mask.num_set() == 0 {
            return Err(GrammarError("no token of the model can continue it".to_owned()));
        }
        let words = mask.len().div_ceil(32);
        Ok(mask.as_slice().iter().copied().take(words).collect())
    }

    /// Takes the token that came.
    ///
    /// # Errors
    /// It does not fit, which is a bug, or finding out passes a limit.
    pub fn accept(&mut self, token: u32) -> Result<(), GrammarError> {
        let matcher = self.matcher()?;
        // After the end only tokens that end the answer come.
        if matcher.is_stopped() && !matcher.is_error() {
            return Ok(());
        }
        self.renewed(|matcher| matcher.consume_token(token))?;
        self.taken.push(token);
        Ok(())
    }

    /// How many tokens it has taken, for [`Matching::back_to`].
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.taken.len()
    }

    /// Forgets all but the first `tokens` tokens, and what went wrong behind them.
    ///
    /// # Errors
    /// It went wrong before.
    pub fn back_to(&mut self, tokens: usize) -> Result<(), GrammarError> {
        let less = self.taken.len().saturating_sub(tokens);
        self.taken.truncate(tokens);
        let matcher = self.matcher()?;
        if matcher.is_error() || matcher.rollback(less).is_err() {
            self.renew()?;
        }
        Ok(())
    }

    /// Does something with the matcher; where one that served others has passed a limit, a fresh one
    /// does it: what matchers learn adds up.
    fn renewed<T, E: std::fmt::Display>(
        &mut self,
        mut act: impl FnMut(&mut Matcher) -> Result<T, E>,
    ) -> Result<T, GrammarError> {
        let wrong = |error: E| GrammarError(shortened(&error.to_string()));
        let done = act(self.matcher()?);
        if done.is_ok() || std::mem::replace(&mut self.is_fresh, true) {
            return done.map_err(wrong);
        }
        self.of.lock().clear();
        act(self.renew()?).map_err(wrong)
    }

    /// A fresh matcher takes the same tokens.
    fn renew(&mut self) -> Result<&mut Matcher, GrammarError> {
        let mut matcher = self.of.fresh();
        let again = matcher.consume_tokens(&self.taken);
        again.map_err(|error| GrammarError(shortened(&error.to_string())))?;
        Ok(self.matcher.insert(matcher))
    }

    fn matcher(&mut self) -> Result<&mut Matcher, GrammarError> {
        self.matcher.as_mut().ok_or_else(|| GrammarError("it has ended".to_owned()))
    }
}

impl Drop for Matching {
    fn drop(&mut self) {
        let Some(mut matcher) = self.matcher.take() else { return };
        if matcher.is_error() || matcher.reset().is_err() {
            return;
        }
        let mut spare = self.of.lock();
        if spare.len() < SPARE_MAX {
            spare.push(matcher);
        }
    }
}

impl std::fmt::Debug for Matching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matching").finish_non_exhaustive()
    }
}

/// The crate's words, as far as they are for a reader.
fn shortened(error: &str) -> String {
    const LETTERS_MAX: usize = 400;
    if error.starts_with("NoExtension") {
        return "no text fits it".to_owned();
    }
    if error.contains("panic") {
        return "the grammar's library cannot compile it".to_owned();
    }
    let words: Vec<&str> = error.split_whitespace().collect();
    words.join(" ").chars().take(LETTERS_MAX).collect()
}
