//! Plain vocabulary data in, token ids out, and token ids back to bytes.
//!
//! Reading a model file is not done here, nor are chat turns (`template.rs`). Next: `decoder.rs`.

use std::collections::HashMap;

use crate::alphabet::Alphabet;
use crate::bpe::Bpe;
use crate::data::{byte_token, kind};
use crate::hash::Seeded;
use crate::jinja::Letter;
use crate::json::{self, Json};
use crate::merge::Scratch;
use crate::patience::Patience;
use crate::pre::Splitter;
use crate::specials::{Control, Piece, Special, Specials};
use crate::spm::{SPACE, Spm};
use crate::table::Table;
use crate::traits;
use crate::unigram::Unigram;
use crate::{Decoder, Named, TextError, TokenizerData};

/// A model's tokenizer. Cheap to share, safe from all threads.
pub struct Tokenizer {
    method: Method,
    specials: Specials,
    table: Table,
    bos: Option<u32>,
    eos: Option<u32>,
    /// What is added before and after a text.
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    end_tokens: Vec<u32>,
    /// Ids from here on have no row in the model's embedding.
    rows: usize,
    odd: Vec<String>,
}

/// How text between special tokens becomes ids.
enum Method {
    Bpe(Splitter, Bpe),
    Spm(Spm),
    Unigram(Unigram),
    Json(Box<Json>),
}

impl Tokenizer {
    /// Builds a tokenizer from a GGUF file's metadata.
    ///
    /// # Errors
    /// The kind or `pre` is not supported (the message names what is), or the data contradicts
    /// itself.
    pub fn new(data: &TokenizerData) -> Result<Self, TextError> {
        if !["gpt2", "llama", "t5"].contains(&data.kind.as_str()) {
            let what = format!("tokenizer.ggml.model = {:?}", data.kind);
            return Err(TextError::Unsupported { what, supported: "gpt2, llama, t5".into() });
        }
        data.check()?;
        let alphabet = Alphabet::new();
        let decode = |written: &str, bytes: &mut Vec<u8>| match data.kind.as_str() {
            "gpt2" => alphabet.decode(written, bytes),
            _ => bytes.extend_from_slice(written.replace(SPACE, " ").as_bytes()),
        };
        let (specials, table) = tables(data, decode)?;
        let method = match data.kind.as_str() {
            "gpt2" => {
                let ids = (0_u32..).take(data.tokens.len());
                let words = ids.filter(|id| data.kind_of(*id) == kind::NORMAL);
                let mut vocabulary =
                    HashMap::with_capacity_and_hasher(table.len(), Seeded::default());
                vocabulary.extend(words.map(|id| (table.bytes(id), id)));
                let splitter = Splitter::new(&data.pre)?;
                let whole = splitter.ignore_merges;
                // A token that its text makes a control token is not made of others.
                let is_text = |merge: &&String| !traits::makes_control(merge);
                let merges: Vec<&str> =
                    data.merges.iter().filter(is_text).map(String::as_str).collect();
                let bpe = Bpe::new(&vocabulary, &merges, decode, whole, data.unk)?;
                Method::Bpe(splitter, bpe)
            }
            "llama" => Method::Spm(Spm::new(data)),
            _ => Method::Unigram(Unigram::new(data)?),
        };
        Ok(Self {
            method,
            specials,
            table,
            bos: data.bos,
            eos: data.eos,
            prefix: data.bos.filter(|_| data.add_bos).into_iter().collect(),
            suffix: data.eos.filter(|_| data.add_eos).into_iter().collect(),
            end_tokens: data.end_tokens(),
            rows: usize::MAX,
            odd: Vec::new(),
        })
    }

    /// Builds a tokenizer from a `tokenizer.json` file of Hugging Face.
    ///
    /// # Errors
    /// The file is broken, or a model or decoder is not supported (the message names what is).
    pub fn from_json(json: &[u8], named: &Named) -> Result<Self, TextError> {
        let json::Parts { json, specials, table, texts, affixes } = json::read(json)?;
        let mut odd = Vec::new();
        // As good as unnamed: no text has a token that is not there.
        let mut id_of = |role: &str, name: &Option<String>| {
            let name = name.as_ref()?;
            let id = (0_u32..).zip(&texts).find(|(_, text)| *text == name).map(|(id, _)| id);
            if id.is_none() {
                odd.push(format!("{role} {name:?} is not in tokenizer.json: there is none"));
            }
            id
        };
        let (bos, eos) = (id_of("bos_token", &named.bos), id_of("eos_token", &named.eos));
        let (mut prefix, mut suffix) = affixes;
        let add = |affix: &mut Vec<u32>, id: Option<u32>, add: Option<bool>| match (id, add) {
            (Some(id), Some(true)) if !affix.contains(&id) => affix.push(id),
            (Some(id), Some(false)) => affix.retain(|other| *other != id),
            _ => {}
        };
        add(&mut prefix, bos, named.add_bos);
        add(&mut suffix, eos, named.add_eos);
        let controls = (0_u32..).zip(&texts).filter(|(id, _)| table.is_control(*id));
        let controls = controls.map(|(id, text)| (id, text.as_str()));
        let mut end_tokens = traits::ends_by_text(controls, false);
        end_tokens.extend(eos.iter().chain(&named.end_tokens));
        end_tokens.sort_unstable();
        end_tokens.dedup();
        let method = Method::Json(Box::new(json));
        let rows = usize::MAX;
        Ok(Self { method, specials, table, bos, eos, prefix, suffix, end_tokens, rows, odd })
    }

    /// Token ids of a text. With `special`, control tokens written in the text are taken as such;
    /// user-defined tokens always are. `bos` and `eos` are added as the model asks.
    ///
    /// # Errors
    /// The text cannot be cut into words within the limit of steps, or the model cannot write it.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, TextError> {
        Ok(self.surround(self.encode_plain(text, special)?))
    }

    /// Adds what the model asks for around a text; a beginning that is there is not added again.
    #[must_use]
    pub fn surround(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if !ids.starts_with(&self.prefix) {
            ids.splice(..0, self.prefix.iter().copied());
        }
        ids.extend(&self.suffix);
        ids
    }

    /// As [`Tokenizer::encode`], with nothing added; for prompts that a template wrote.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str, special: bool) -> Result<Vec<u32>, TextError> {
        self.cut(text, if special { Control::Everywhere } else { Control::Nowhere })
    }

    /// Token ids of a prompt that a template wrote: no control token comes of letters that a client
    /// sent.
    pub(crate) fn encode_prompt(&self, prompt: &[Letter]) -> Result<Vec<u32>, TextError> {
        let (mut text, mut clients) = (String::with_capacity(prompt.len()), Vec::new());
        for run in prompt.chunk_by(|a, b| a.is_client() == b.is_client()) {
            let start = text.len();
            text.extend(run.iter().map(|letter| letter.char()));
            if run.first().is_some_and(|letter| letter.is_client()) {
                clients.push(start..text.len());
            }
        }
        self.cut(&text, Control::Outside(&clients))
    }

    fn cut(&self, text: &str, control: Control<'_>) -> Result<Vec<u32>, TextError> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 2);
        let mut scratch = Scratch::default();
        let patience = Patience::new(text.len());
        let mut result = Ok(());
        let mut is_first = true;
        self.specials.cut(text, control, &mut |piece| {
            match piece {
                Piece::Token(id) => ids.push(id),
                Piece::Text(_) if result.is_err() => {}
                Piece::Text(text) => {
                    result = self.method.encode(text, is_first, &patience, &mut scratch, &mut ids);
                }
            }
            is_first = false;
        });
        result?;
        match ids.iter().find(|id| **id as usize >= self.rows) {
            None => Ok(ids),
            Some(id) => {
                let rows = self.rows;
                let why = format!("token {id} is not one of the {rows} that the model knows");
                Err(TextError::Text { why })
            }
        }
    }

    /// The tokenizer of a model whose embedding has so many rows; its vocabulary may be larger.
    #[must_use]
    pub fn of_model(mut self, rows: usize) -> Self {
        // A model never writes a token that it has no row for.
        self.end_tokens.retain(|id| (*id as usize) < rows);
        Self { rows, ..self }
    }

    /// What the model's files say that cannot be, and what is done instead.
    #[must_use]
    pub fn odd(&self) -> &[String] {
        &self.odd
    }

    /// The fewest tokens a text of so many bytes can have: refuses the hopeless before encoding.
    #[must_use]
    pub fn tokens_min(&self, text_bytes: usize) -> usize {
        let bytes_max = match &self.method {
            // An unknown token may stand for four bytes.
            Method::Bpe(..) | Method::Spm(_) => Some(self.table.token_bytes_max.max(4)),
            // Blanks are dropped and unknown characters joined.
            Method::Unigram(_) => None,
            Method::Json(json) => json.text_bytes_max,
        };
        bytes_max.map_or(0, |bytes_max| text_bytes.div_ceil(bytes_max))
    }

    /// The bytes of a token, which may be part of a character; empty for unknown ids.
    #[must_use]
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.table.bytes(id)
    }

    /// True for control tokens, which are not part of the text a user reads.
    #[must_use]
    pub fn is_control(&self, id: u32) -> bool {
        self.table.is_control(id)
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

    /// Tokens of the vocabulary that the model knows.
    #[must_use]
    pub fn vocabulary_len(&self) -> usize {
        self.table.len().min(self.rows)
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
        f.debug_struct("Tokenizer").field("tokens", &self.table.len()).finish_non_exhaustive()
    }
}

impl Method {
    fn encode(
        &self,
        text: &str,
        is_first: bool,
        patience: &Patience,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        match self {
            Self::Bpe(splitter, bpe) => {
                splitter.split(text, &mut |word| bpe.encode(word.as_bytes(), scratch, ids))
            }
            Self::Spm(spm) => spm.encode(text, scratch, ids),
            Self::Unigram(unigram) => {
                unigram.encode(text, ids);
                Ok(())
            }
            Self::Json(json) => json.encode(text, is_first, patience, ids),
        }
    }
}

fn tables(
    data: &TokenizerData,
    decode: impl Fn(&str, &mut Vec<u8>),
) -> Result<(Specials, Table), TextError> {
    let (mut specials, mut table) = (Specials::default(), Table::default());
    for (id, token) in (0_u32..).zip(&data.tokens) {
        let kind = data.kind_of(id);
        let is_control =
            !matches!(kind, kind::NORMAL | kind::USER_DEFINED | kind::UNUSED | kind::BYTE);
        if is_control || kind == kind::USER_DEFINED {
            let strips = traits::strips(&data.name, token, kind);
            let (lstrip, rstrip) = (strips.left, strips.right);
            specials.insert(token, Special { id, control: is_control, lstrip, rstrip });
        }
        table.push(is_control, |bytes| match (kind, byte_token(token)) {
            (kind::BYTE, Some(byte)) => bytes.push(byte),
            (kind::NORMAL | kind::BYTE, _) => decode(token, bytes),
            (kind::UNUSED, _) => {}
            _ => bytes.extend_from_slice(token.as_bytes()),
        })?;
    }
    Ok((specials, table))
}

#[cfg(test)]
mod tests;
