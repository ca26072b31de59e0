//! How a `tokenizer.json` writes the bytes of tokens: its `decoder`, token by token.
//!
//! What concerns a whole text (the blank a `Strip` takes from its start) is not done: generated
//! text goes on from a prompt. Next: `tokenizer.rs`.

use std::borrow::Cow;

use ::tokenizers::normalizers::replace::ReplacePattern;
use serde::Deserialize;

use crate::TextError;
use crate::alphabet::Alphabet;
use crate::data::byte_token;

const SUPPORTED: &str = "ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip";

/// What is done to a token's text.
#[derive(Debug, Default)]
pub(super) struct Written {
    alphabet: Option<Alphabet>,
    byte_fallback: bool,
    replaced: Vec<(String, String)>,
}

/// A decoder as its file has it.
#[derive(Deserialize)]
pub(super) struct Decoder {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    decoders: Vec<Self>,
    pattern: Option<ReplacePattern>,
    content: Option<String>,
    replacement: Option<String>,
}

impl Written {
    /// # Errors
    /// A decoder is not supported.
    pub(super) fn new(decoder: Option<&Decoder>) -> Result<Self, TextError> {
        let unsupported = |kind: &str| {
            let what = format!("tokenizer.json: decoder = {kind}");
            TextError::Unsupported { what, supported: SUPPORTED.into() }
        };
        let mut written = Self::default();
        let mut steps = vec![decoder.ok_or_else(|| unsupported("null"))?];
        while let Some(Decoder { kind, decoders, pattern, content, replacement }) = steps.pop() {
            match (kind.as_str(), pattern) {
                ("Sequence", _) => steps.extend(decoders.iter().rev()),
                ("ByteLevel", _) => written.alphabet = Some(Alphabet::new()),
                ("ByteFallback", _) => written.byte_fallback = true,
                ("Fuse" | "Strip", _) => {}
                ("Metaspace", _) => {
                    let from = replacement.clone().unwrap_or_else(|| crate::spm::SPACE.into());
                    written.replaced.push((from, " ".into()));
                }
                ("Replace", Some(ReplacePattern::String(from))) if !from.is_empty() => {
                    written.replaced.push((from.clone(), content.clone().unwrap_or_default()));
                }
                ("Replace", _) => return Err(unsupported("Replace by a regular expression")),
                _ => return Err(unsupported(kind)),
            }
        }
        Ok(written)
    }

    /// Appends the bytes of a token.
    pub(super) fn decode(&self, token: &str, bytes: &mut Vec<u8>) {
        if let Some(byte) = byte_token(token).filter(|_| self.byte_fallback) {
            bytes.push(byte);
            return;
        }
        let mut text = Cow::Borrowed(token);
        for (from, to) in &self.replaced {
            text = text.replace(from, to).into();
        }
        match &self.alphabet {
            Some(alphabet) => alphabet.decode(&text, bytes),
            None => bytes.extend_from_slice(text.as_bytes()),
        }
    }
}
