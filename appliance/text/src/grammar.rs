//! What an answer must look like, and which tokens may come next so that it does.
//!
//! The work is done by the `llguidance` crate; here it gets our vocabulary, its limits and a cache. A
//! compiled grammar is shared by all requests that ask for it. Threads and steps are not known here.
//! Next: `grammar/source.rs`, `grammar/matching.rs`.

mod ascii;
mod cache;
mod costly;
mod gbnf;
mod matching;
mod place;
mod source;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::InferenceCapabilities;

pub(crate) use ascii::schema as ascii_patterns;
pub(crate) use costly::check as check_cost;
pub use matching::{Grammar, Matching};
pub use source::GrammarSource;

use crate::Tokenizer;
use cache::Cache;
use serde_json::Value;

/// Compiled grammars that are kept for who asks again.
const KEPT_MAX: usize = 32;
/// Bytes of their sources, together. Compiled, a schema of 1,000 fields has 65 times as many (measured with
/// a vocabulary of bytes), and so has each of its matchers that wait.
const KEPT_BYTES_MAX: usize = 512 << 10;
/// Bounds on what a grammar may cost; the names are the crate's. The first three bound its
/// compilation (about 20 ms by its own figures), the next two a mask (about 15 ms), the last one
/// memory (1 to 2 kB each).
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 2_000,
    initial_lexer_fuel: 1_000_000,
    max_grammar_size: 250_000,
    step_lexer_fuel: 200_000,
    step_max_items: 50_000,
    max_lexer_states: 20_000,
    precompute_large_lexemes: true,
    // They would hold what was generated.
    verbose_errors: false,
};

/// Why a grammar cannot be used, in words for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrammarError(pub String);

/// Makes grammars for one vocabulary.
pub struct Grammars {
    factory: Arc<ParserFactory>,
    kept: Mutex<Cache<Arc<Grammar>>>,
}

impl Grammars {
    /// For a tokenizer's vocabulary; takes some ten milliseconds for 50,000 tokens.
    ///
    /// # Errors
    /// The vocabulary is none.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, GrammarError> {
        let tokens = vocabulary::of(tokenizer)?;
        // How the crate speeds up masks of JSON strings.
        let slices = SlicedBiasComputer::json_slices();
        let factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &slices);
        let mut factory = factory.map_err(|error| GrammarError(error.to_string()))?;
        *factory.limits_mut() = LIMITS;
        factory.quiet();
        Ok(Self {
            factory: Arc::new(factory),
            kept: Mutex::new(Cache::new(KEPT_MAX, KEPT_BYTES_MAX)),
        })
    }

    /// Compiles a grammar, or finds it compiled. May take long: not for threads that answer sockets.
    ///
    /// # Errors
    /// What is wrong with it, or which limit it passes.
    pub fn compile(&self, source: &GrammarSource) -> Result<Arc<Grammar>, GrammarError> {
        let key = source.key()?;
        if let Some(known) = self.lock().get(&key) {
            return Ok(known);
        }
        let compiled = Grammar::new(&self.factory, source);
        let grammar = Arc::new(compiled.map_err(|error| self.placed(source, error))?);
        self.lock().put(key, Arc::clone(&grammar));
        Ok(grammar)
    }

    /// The same error, with the part of a schema that is at fault.
    fn placed(&self, source: &GrammarSource, error: GrammarError) -> GrammarError {
        let GrammarSource::JsonSchema(schema) = source else { return error };
        let fault = |part: &Value| {
            let source = GrammarSource::JsonSchema(part.clone());
            Grammar::new(&self.factory, &source).err()
        };
        match place::of(schema, fault) {
            Some((place, GrammarError(what))) => GrammarError(format!("{place}: {what}")),
            None => error,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache<Arc<Grammar>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}
