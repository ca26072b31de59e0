//! The tokenizers of `tokenizer.json` files: text to token ids by the parts of the `tokenizers`
//! crate (normaliser, pre-tokenizer, model).
//!
//! Added tokens are cut out by our own `specials.rs`, so that text cannot forge a control token;
//! the crate's tokenizer, its batches and its threads are not used. Next: `json/file.rs` (how a
//! file is read), `json/written.rs` (its decoder).

mod bound;
mod file;
mod patterns;
mod written;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ::tokenizers::{
    Model, ModelWrapper, NormalizedString, NormalizerWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizerWrapper,
};

use patterns::Steps;

pub(crate) use file::{Parts, read};

use crate::TextError;
use crate::patience::Patience;
use crate::specials::{Control, Piece, Specials};

/// What turns a text between two special tokens into ids.
#[derive(Debug)]
pub(crate) struct Json {
    normalizer: Option<Steps<NormalizerWrapper>>,
    pre_tokenizer: Option<Steps<PreTokenizerWrapper>>,
    /// For all but the first stretch of a text, where that differs (`prepend_scheme: first`).
    pre_tokenizer_later: Option<Steps<PreTokenizerWrapper>>,
    model: ModelWrapper,
    /// User-defined tokens that are looked for in normalised text.
    added: Specials,
    /// Bytes of text that one token stands for at most, where there is a limit.
    pub(crate) text_bytes_max: Option<usize>,
}

impl Json {
    /// Appends the tokens of a text between two special tokens; `is_first` where nothing stands
    /// before it.
    ///
    /// # Errors
    /// The model cannot write the text, or its file is broken in a way that shows only now.
    pub(crate) fn encode(
        &self,
        text: &str,
        is_first: bool,
        patience: &Patience,
        ids: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        let pieces = || {
            let mut text = NormalizedString::from(text);
            if let Some(normalizer) = &self.normalizer {
                normalizer.normalize(&mut text, patience)?;
            }
            let (mut is_first, mut result) = (is_first, Ok(()));
            self.added.cut(text.get(), Control::Nowhere, &mut |piece| {
                match piece {
                    Piece::Token(id) => ids.push(id),
                    Piece::Text(_) if result.is_err() => {}
                    Piece::Text(text) => {
                        result = self.encode_normal(text, is_first, patience, ids);
                    }
                }
                is_first = false;
            });
            result
        };
        caught(pieces).map_err(|why| TextError::Text { why })
    }

    fn encode_normal(
        &self,
        text: &str,
        is_first: bool,
        patience: &Patience,
        ids: &mut Vec<u32>,
    ) -> ::tokenizers::Result<()> {
        let later = self.pre_tokenizer_later.as_ref().filter(|_| !is_first);
        let mut words = PreTokenizedString::from(text);
        if let Some(pre_tokenizer) = later.or(self.pre_tokenizer.as_ref()) {
            pre_tokenizer.pre_tokenize(&mut words, patience)?;
        }
        for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            ids.extend(self.model.tokenize(word)?.iter().map(|token| token.id));
        }
        Ok(())
    }
}

/// Runs code of the crate. It indexes without checks in places (a normaliser's trie, a template's
/// pieces), so a broken file can make it panic; here that is an error.
fn caught<T>(work: impl FnOnce() -> ::tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("tokenizer.json makes the tokenizers crate panic".to_owned()),
    }
}

#[cfg(test)]
mod tests;
