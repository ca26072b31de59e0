//! A tokenizer's vocabulary as `llguidance` wants it.
//!
//! Control tokens cannot come of text: they get the crate's mark. Tokens without text are never
//! allowed. Next: `source.rs`.

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};

use super::GrammarError;
use crate::Tokenizer;

/// The trie of all tokens that a model knows. Its own way of cutting text is not needed: any tokens
/// whose text fits may come.
pub(super) fn of(tokenizer: &Tokenizer) -> Result<TokEnv, GrammarError> {
    let count = u32::try_from(tokenizer.vocabulary_len()).unwrap_or(u32::MAX);
    if count == 0 {
        return Err(GrammarError("the model has no vocabulary".to_owned()));
    }
    let word = |id: u32| {
        let bytes = tokenizer.bytes(id);
        match tokenizer.is_control(id) {
            true => [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat(),
            false => bytes.to_vec(),
        }
    };
    let words: Vec<Vec<u8>> = (0..count).map(word).collect();
    let ends: Vec<u32> = tokenizer.end_tokens().iter().copied().filter(|id| *id < count).collect();
    let first = ends.first().copied().unwrap_or(INVALID_TOKEN);
    let trie = TokTrie::from(&TokRxInfo::new(count, first), &words);
    let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(&ends) };
    Ok(Arc::new(ApproximateTokEnv::new(trie)))
}
