//! Plain vocabulary data in, token ids out, and token ids back to bytes.
//!
//! Reading a model file is not done here, nor are chat turns (`template.rs`). Next: `decoder.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::bpe::{Bpe, Scratch};
use crate::hash::Seeded;
use crate::pre::Splitter;
use crate::specials::{Piece, Specials};
use crate::{Decoder, TextError};

/// GGUF `tokenizer.ggml.token_type` values; 2 (unknown) is treated as control.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const USER_DEFINED: i32 = 4;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// Control tokens that end a turn in the families we know, whatever the file's metadata says
/// (llama.cpp keeps the same list).
const END_NAMES: &[&str] = &[
    "<|endoftext|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "</s>",
];

/// What a model file says about its tokenizer, as plain data.
#[derive(Clone, Debug, Default)]
pub struct TokenizerData {
    /// GGUF `tokenizer.ggml.model`; `gpt2` (byte-level BPE) is supported.
    pub kind: String,
    /// GGUF `tokenizer.ggml.pre`: how text is cut into words.
    pub pre: String,
    /// Tokens as the vocabulary writes them; the index is the id.
    pub tokens: Vec<String>,
    /// GGUF token types, one for each token; empty means that all are normal.
    pub token_types: Vec<i32>,
    /// Merges in order of rank, each `left right`.
    pub merges: Vec<String>,
    /// Scores, where the kind has them; `gpt2` has none.
    pub scores: Vec<f32>,
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Stands for what cannot be written.
    pub unk: Option<u32>,
    /// Fills rows.
    pub pad: Option<u32>,
    /// Whether an encoded text begins with `bos`.
    pub add_bos: bool,
    /// Whether an encoded text ends with `eos`.
    pub add_eos: bool,
    /// More tokens that end generation (`eot`, `eom`).
    pub eog: Vec<u32>,
}

impl TokenizerData {
    /// A vocabulary of the 256 bytes, then `<|im_start|>` (256) and `<|im_end|>` (257): for models
    /// without a vocabulary, such as the simulator.
    #[must_use]
    pub fn byte_level() -> Self {
        let mut written = byte_alphabet();
        written.sort_by_key(|(byte, _)| *byte);
        let mut tokens: Vec<String> = written.iter().map(|(_, c)| c.to_string()).collect();
        tokens.extend(["<|im_start|>".to_owned(), "<|im_end|>".to_owned()]);
        let mut token_types = vec![kind::NORMAL; 256];
        token_types.extend([kind::CONTROL; 2]);
        Self {
            kind: "gpt2".into(),
            pre: "gpt-2".into(),
            tokens,
            token_types,
            bos: Some(256),
            eos: Some(257),
            ..Self::default()
        }
    }
}

/// A model's tokenizer. Cheap to share, safe from all threads.
pub struct Tokenizer {
    splitter: Splitter,
    bpe: Bpe,
    specials: Specials,
    /// Bytes of all tokens, one after the other; token `i` ends at `ends[i]`.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    control: Vec<bool>,
    token_bytes_max: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    end_tokens: Vec<u32>,
}

impl Tokenizer {
    /// Builds a tokenizer.
    ///
    /// # Errors
    /// The kind or `pre` is not supported (the message names what is), or the data contradicts
    /// itself.
    pub fn new(data: &TokenizerData) -> Result<Self, TextError> {
        if data.kind != "gpt2" {
            let what = format!("tokenizer.ggml.model = {:?}", data.kind);
            return Err(TextError::Unsupported { what, supported: "gpt2".into() });
        }
        check_data(data)?;
        let splitter = Splitter::new(&data.pre)?;
        let alphabet = Alphabet::new();
        let decode = |written: &str, bytes: &mut Vec<u8>| alphabet.decode(written, bytes);
        let mut specials = Specials::default();
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(data.tokens.len()));
        let mut control = vec![false; data.tokens.len()];
        for (id, token) in (0_u32..).zip(&data.tokens) {
            let kind = kind_of(data, id);
            match kind {
                kind::NORMAL => decode(token, &mut bytes),
                kind::BYTE => match byte_token(token) {
                    Some(byte) => bytes.push(byte),
                    None => decode(token, &mut bytes),
                },
                kind::UNUSED => {}
                _ => {
                    control[id as usize] = kind != kind::USER_DEFINED;
                    specials.insert(token, id, kind != kind::USER_DEFINED);
                    bytes.extend_from_slice(token.as_bytes());
                }
            }
            let end = u32::try_from(bytes.len());
            ends.push(end.map_err(|_| broken("the vocabulary is larger than 4 GiB"))?);
        }
        let starts = [0].into_iter().chain(ends.iter().copied());
        let spans = starts.zip(&ends).map(|(start, end)| start as usize..*end as usize);
        let token_bytes_max = spans.clone().map(|s| s.len()).max().unwrap_or(1).max(1);
        let words = (0_u32..).zip(spans).filter(|(id, _)| kind_of(data, *id) == kind::NORMAL);
        let words = words.map(|(id, span)| (&bytes[span], id));
        let mut vocabulary = HashMap::with_capacity_and_hasher(ends.len(), Seeded::default());
        vocabulary.extend(words);
        let ignore_merges = splitter.ignore_merges;
        let bpe = Bpe::new(&vocabulary, &data.merges, decode, ignore_merges, data.unk)?;
        Ok(Self {
            splitter,
            bpe,
            specials,
            bytes,
            ends,
            control,
            token_bytes_max,
            bos: data.bos,
            eos: data.eos,
            add_bos: data.add_bos && data.bos.is_some(),
            add_eos: data.add_eos && data.eos.is_some(),
            end_tokens: end_tokens(data),
        })
    }

    /// Token ids of a text. With `special`, control tokens written in the text are taken as such;
    /// user-defined tokens always are. `bos` and `eos` are added as the model asks.
    ///
    /// # Errors
    /// The text cannot be cut into words within the limit of steps.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, TextError> {
        let mut ids = self.encode_plain(text, special)?;
        if let Some(bos) = self.bos.filter(|b| self.add_bos && ids.first() != Some(b)) {
            ids.insert(0, bos);
        }
        ids.extend(self.eos.filter(|_| self.add_eos));
        Ok(ids)
    }

    /// As [`Tokenizer::encode`], without `bos` and `eos`; for prompts that a template wrote.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str, special: bool) -> Result<Vec<u32>, TextError> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 2);
        let mut scratch = Scratch::default();
        let mut result = Ok(());
        self.specials.cut(text, special, &mut |piece| match piece {
            Piece::Token(id) => ids.push(id),
            Piece::Text(text) if result.is_ok() => {
                let mut word = |w: &str| self.bpe.encode(w.as_bytes(), &mut scratch, &mut ids);
                result = self.splitter.split(&text, &mut word);
            }
            Piece::Text(_) => {}
        });
        result.map(|()| ids)
    }

    /// User text in which no control token will be found when the prompt around it is encoded with
    /// `special`. Templates get only guarded text.
    #[must_use]
    pub fn guard<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.specials.guard(text)
    }

    /// The fewest tokens a text of so many bytes can have: refuses the hopeless before encoding.
    #[must_use]
    pub fn tokens_min(&self, text_bytes: usize) -> usize {
        text_bytes.div_ceil(self.token_bytes_max)
    }

    /// The bytes of a token, which may be part of a character; empty for unknown ids.
    #[must_use]
    pub fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|i| self.ends.get(i)).map_or(0, |e| *e as usize);
        self.ends.get(id).map_or(&[], |end| &self.bytes[start..*end as usize])
    }

    /// True for control tokens, which are not part of the text a user reads.
    #[must_use]
    pub fn is_control(&self, id: u32) -> bool {
        self.control.get(id as usize).copied().unwrap_or(false)
    }

    /// The text of tokens; bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32], skip_control: bool) -> String {
        let mut decoder = Decoder::default();
        let mut text = String::new();
        for id in ids.iter().filter(|id| !(skip_control && self.is_control(**id))) {
            text.push_str(&decoder.push(self.bytes(*id)));
        }
        text.push_str(&decoder.finish());
        text
    }

    /// Tokens of the vocabulary.
    #[must_use]
    pub fn vocabulary_len(&self) -> usize {
        self.ends.len()
    }

    /// Tokens that end generation, in ascending order.
    #[must_use]
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// The text of the token that begins a text, for templates.
    #[must_use]
    pub fn bos_text(&self) -> String {
        self.bos.map(|id| self.decode(&[id], false)).unwrap_or_default()
    }

    /// The text of the token that ends a text, for templates.
    #[must_use]
    pub fn eos_text(&self) -> String {
        self.eos.map(|id| self.decode(&[id], false)).unwrap_or_default()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("tokens", &self.ends.len()).finish_non_exhaustive()
    }
}

fn broken(why: &str) -> TextError {
    TextError::Tokenizer { why: why.to_owned() }
}

fn check_data(data: &TokenizerData) -> Result<(), TextError> {
    if data.tokens.is_empty() {
        return Err(broken("tokenizer.ggml.tokens is empty"));
    }
    if !data.token_types.is_empty() && data.token_types.len() != data.tokens.len() {
        let (types, tokens) = (data.token_types.len(), data.tokens.len());
        return Err(broken(&format!("{types} token types for {tokens} tokens")));
    }
    let named =
        [("bos", data.bos), ("eos", data.eos), ("unknown", data.unk), ("padding", data.pad)];
    let named = named.into_iter().filter_map(|(name, id)| Some((name, id?)));
    for (name, id) in named.chain(data.eog.iter().map(|id| ("end of generation", *id))) {
        if id as usize >= data.tokens.len() {
            let tokens = data.tokens.len();
            return Err(broken(&format!("{name} token {id} is not one of {tokens} tokens")));
        }
    }
    Ok(())
}

fn end_tokens(data: &TokenizerData) -> Vec<u32> {
    let is_control = |id: &u32| data.token_types.get(*id as usize) == Some(&kind::CONTROL);
    let named = (0_u32..).zip(&data.tokens);
    let named = named.filter(|(_, t)| END_NAMES.contains(&t.as_str())).map(|(id, _)| id);
    let mut ids: Vec<u32> = named.filter(is_control).collect();
    ids.extend(data.eos.iter().chain(&data.eog));
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Which character stands for which byte in byte-level vocabularies.
///
/// **Source**: `bytes_to_unicode` of GPT-2's `encoder.py`: printable Latin-1 bytes stand for
/// themselves, the others for U+0100 onwards, in order.
fn byte_alphabet() -> Vec<(u8, char)> {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let (direct, rest): (Vec<u8>, Vec<u8>) = (0..=255).partition(printable);
    let shifted = rest.into_iter().zip('\u{100}'..);
    direct.into_iter().map(|b| (b, char::from(b))).chain(shifted).collect()
}

/// The alphabet backwards: character to byte.
struct Alphabet([Option<u8>; ALPHABET_END]);

/// One past the last character of the alphabet, U+0143.
const ALPHABET_END: usize = 0x144;

impl Alphabet {
    fn new() -> Self {
        let mut bytes = [None; ALPHABET_END];
        for (byte, written) in byte_alphabet() {
            bytes[written as usize] = Some(byte);
        }
        Self(bytes)
    }

    /// Appends the bytes of a token's written form; one that is not written in the alphabet stands
    /// for itself.
    fn decode(&self, written: &str, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        for c in written.chars() {
            let Some(byte) = self.0.get(c as usize).copied().flatten() else {
                bytes.truncate(start);
                bytes.extend_from_slice(written.as_bytes());
                return;
            };
            bytes.push(byte);
        }
    }
}

fn kind_of(data: &TokenizerData, id: u32) -> i32 {
    data.token_types.get(id as usize).copied().unwrap_or(kind::NORMAL)
}

/// `<0x0A>` to its byte.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests;
