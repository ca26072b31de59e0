//! Reading a `tokenizer.json` file.
//!
//! It is parsed with types, twice (the first time for the model's type only): no tree of the whole
//! file stands in memory. Next: `written.rs`.

use std::collections::HashSet;

use ::tokenizers::models::bpe::{BPE, Vocab};
use ::tokenizers::models::unigram::Unigram;
use ::tokenizers::{
    Encoding, ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper, PostProcessor,
    PostProcessorWrapper, Token,
};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::patterns::Steps;
use super::written::{Decoder, Written};
use super::{Json, bound, caught};
use crate::TextError;
use crate::alphabet::byte_alphabet;
use crate::data::byte_token;
use crate::specials::{Special, Specials, secret};
use crate::table::Table;

/// The largest known file has 34 MB.
const FILE_BYTES_MAX: usize = 256 << 20;
/// A file that is read as a tree, which takes some ten times its bytes.
const TREE_BYTES_MAX: usize = 64 << 20;
/// The largest known vocabulary has 262 thousand.
const TOKENS_MAX: u32 = 1 << 22;
/// Stands for the text where a post-processor shows what it adds.
const TEXT: u32 = u32::MAX;

/// What a file gives.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) json: Json,
    pub(crate) specials: Specials,
    pub(crate) table: Table,
    /// All tokens as they are written; empty where an id has none.
    pub(crate) texts: Vec<String>,
    /// What the post-processor writes before and after a text.
    pub(crate) affixes: (Vec<u32>, Vec<u32>),
}

/// Reads a file.
///
/// # Errors
/// The file is broken, or has a model or decoder that is not supported (the message names what is).
pub(crate) fn read(json: &[u8]) -> Result<Parts, TextError> {
    let broken = |why: String| TextError::broken(format!("tokenizer.json: {why}"));
    if json.len() > FILE_BYTES_MAX {
        let why = format!("{} bytes; at most {FILE_BYTES_MAX} are read", json.len());
        return Err(broken(why));
    }
    let head: File<Head> = parse(json).map_err(broken)?;
    match head.model.kind.as_deref() {
        Some("BPE") => {}
        Some("Unigram") => return parts::<Scored>(parse(json).map_err(broken)?),
        // The first files did not name the type.
        None if head.model.merges.is_some() => {}
        kind => {
            let what = format!("tokenizer.json: model.type = {:?}", kind.unwrap_or_default());
            return Err(TextError::Unsupported { what, supported: "BPE, Unigram".into() });
        }
    }
    parts::<Pairs>(parse(json).map_err(broken)?)
}

/// Parses with types. A key that stands twice is an error there; in Python the last one counts,
/// as it does in a tree, so such a file goes by way of one.
fn parse<M: DeserializeOwned>(json: &[u8]) -> Result<File<M>, String> {
    let typed = caught(|| Ok(serde_json::from_slice(json)?));
    match typed {
        Err(why) if why.contains("duplicate field") && json.len() <= TREE_BYTES_MAX => {
            caught(|| Ok(serde_json::from_value(serde_json::from_slice(json)?)?))
        }
        typed => typed,
    }
}

fn parts<M: Vocabulary>(file: File<M>) -> Result<Parts, TextError> {
    let broken = |why: String| TextError::broken(format!("tokenizer.json: {why}"));
    let written = Written::new(file.decoder.as_ref())?;
    let highest = file.model.ids().chain(file.added_tokens.iter().map(|added| added.id)).max();
    let count = highest.map_or(0, |id| id.saturating_add(1));
    if count == 0 || count > TOKENS_MAX {
        return Err(broken(format!("{count} tokens; from 1 to {TOKENS_MAX} are read")));
    }
    let normalizer: Option<NormalizerWrapper> =
        file.normalizer.clone().map(part).transpose().map_err(broken)?;
    let mut texts = vec![String::new(); count as usize];
    file.model.each(&mut |text, id| text.clone_into(&mut texts[id as usize]));
    let mut control = vec![false; texts.len()];
    let (mut specials, mut added) = (Specials::default(), Specials::default());
    for token in &file.added_tokens {
        if token.single_word {
            let what = format!("tokenizer.json: added token {:?}: single_word", token.content);
            return Err(TextError::Unsupported { what, supported: "single_word = false".into() });
        }
        token.content.clone_into(&mut texts[token.id as usize]);
        control[token.id as usize] = token.special;
        // A control token is looked for in the text as it came, whatever the file says, so that no
        // normaliser can make one of a user's text.
        match normalizer.as_ref().filter(|_| token.normalized && !token.special) {
            Some(normalizer) => {
                let mut text = NormalizedString::from(token.content.as_str());
                caught(|| normalizer.normalize(&mut text)).map_err(broken)?;
                added.insert(text.get(), token.into());
            }
            None => specials.insert(&token.content, token.into()),
        }
    }
    let mut table = Table::default();
    for (text, control) in texts.iter().zip(control) {
        table.push(control, |bytes| match control {
            true => bytes.extend_from_slice(text.as_bytes()),
            false => written.decode(text, bytes),
        })?;
    }
    let text_bytes_max = text_bytes_max(&file, &texts);
    let control = file.added_tokens.iter().filter(|token| token.special);
    let control = control.map(|token| token.content.as_str()).collect();
    let model = file.model.build(&control).map_err(broken)?;
    let affixes = affixes(file.post_processor.as_ref()).map_err(broken)?;
    let later = file.pre_tokenizer.as_ref().and_then(later);
    let json = Json {
        normalizer: steps(file.normalizer.as_ref(), "normalizers").map_err(broken)?,
        pre_tokenizer: steps(file.pre_tokenizer.as_ref(), "pretokenizers").map_err(broken)?,
        pre_tokenizer_later: steps(later.as_ref(), "pretokenizers").map_err(broken)?,
        model,
        added,
        text_bytes_max,
    };
    Ok(Parts { json, specials, table, texts, affixes })
}

fn steps<W: DeserializeOwned>(
    value: Option<&Value>,
    field: &str,
) -> Result<Option<Steps<W>>, String> {
    value.filter(|value| !value.is_null()).map(|value| Steps::new(value, field)).transpose()
}

pub(super) fn part<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    caught(|| Ok(serde_json::from_value(value)?))
}

/// The bytes of text that one token stands for at most, where there is a limit.
fn text_bytes_max<M: Vocabulary>(file: &File<M>, texts: &[String]) -> Option<usize> {
    let (normalizer, pre_tokenizer) = (file.normalizer.as_ref(), file.pre_tokenizer.as_ref());
    let strips = file.added_tokens.iter().any(|token| token.lstrip || token.rstrip);
    let writes_all = file.model.writes_all(bound::is_byte_level(pre_tokenizer));
    let shrinks = bound::shrinks(normalizer, pre_tokenizer).filter(|_| writes_all && !strips)?;
    shrinks.checked_mul(texts.iter().map(String::len).max()?)
}

/// The pre-tokenizer of all but the first stretch of a text, where it is another one.
fn later(first: &Value) -> Option<Value> {
    let mut later = first.clone();
    let mut nodes = vec![&mut later];
    while let Some(node) = nodes.pop() {
        match node {
            Value::Object(fields) => {
                if let Some(scheme) = fields.get_mut("prepend_scheme").filter(|s| *s == "first") {
                    *scheme = "never".into();
                }
                nodes.extend(fields.values_mut());
            }
            Value::Array(items) => nodes.extend(items),
            _ => {}
        }
    }
    (later != *first).then_some(later)
}

fn affixes(processor: Option<&PostProcessorWrapper>) -> Result<(Vec<u32>, Vec<u32>), String> {
    let Some(processor) = processor else { return Ok(Default::default()) };
    let text = Encoding::from_tokens(vec![Token::new(TEXT, String::new(), (0, 0))], 0);
    let whole = caught(|| processor.process(text, None, true))?;
    let mut parts = whole.get_ids().split(|id| *id == TEXT);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(before), Some(after), None) => Ok((before.to_vec(), after.to_vec())),
        _ => Err("post_processor: the text is not there once".to_owned()),
    }
}

#[derive(Deserialize)]
struct File<M> {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<Decoder>,
    model: M,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl From<&Added> for Special {
    fn from(added: &Added) -> Self {
        let Added { id, special, lstrip, rstrip, .. } = *added;
        Self { id, control: special, lstrip, rstrip }
    }
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: Option<String>,
    merges: Option<IgnoredAny>,
}

/// A model as its file has it.
trait Vocabulary {
    fn ids(&self) -> impl Iterator<Item = u32>;

    fn each(&self, token: &mut dyn FnMut(&str, u32));

    /// Builds the model. The `control` tokens go behind a secret, which no text contains: a model
    /// that looks up whole words would make them of text that spells their names.
    fn build(self, control: &HashSet<&str>) -> Result<ModelWrapper, String>;

    /// Whether every character becomes tokens of its own text; with `bytes`, every byte.
    fn writes_all(&self, bytes: bool) -> bool;
}

fn hidden(text: &str) -> String {
    format!("{}{text}", secret())
}

/// BPE.
#[derive(Deserialize)]
struct Pairs {
    vocab: Vocab,
    merges: Vec<Merge>,
    unk_token: Option<String>,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

impl Vocabulary for Pairs {
    fn ids(&self) -> impl Iterator<Item = u32> {
        self.vocab.values().copied()
    }

    fn each(&self, token: &mut dyn FnMut(&str, u32)) {
        self.vocab.iter().for_each(|(text, id)| token(text, *id));
    }

    fn build(mut self, control: &HashSet<&str>) -> Result<ModelWrapper, String> {
        let affixed = |affix: &Option<String>| affix.as_ref().is_some_and(|a| !a.is_empty());
        if affixed(&self.continuing_subword_prefix) || affixed(&self.end_of_word_suffix) {
            return Err("model: prefixes and suffixes of subwords are not supported".into());
        }
        if self.dropout.is_some_and(|dropout| dropout != 0.0) {
            return Err("model.dropout is not supported".into());
        }
        let mut merges = Vec::with_capacity(self.merges.len());
        let mut merged = HashSet::new();
        for merge in self.merges {
            let (left, right) = match merge {
                Merge::Pair(left, right) => (left, right),
                Merge::Line(line) if line.starts_with("#version") => continue,
                Merge::Line(line) => {
                    let halves = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
                    let (left, right) = halves.ok_or_else(|| format!("merge {line:?}"))?;
                    (left.to_owned(), right.to_owned())
                }
            };
            let both = format!("{left}{right}");
            if let Some(text) =
                [&left, &right, &both].iter().find(|t| !self.vocab.contains_key(**t))
            {
                return Err(format!("merge {left:?} {right:?}: {text:?} is no token"));
            }
            for text in [&left, &right, &both] {
                if control.contains(text.as_str()) {
                    merged.insert(text.clone());
                }
            }
            merges.push((left, right));
        }
        for text in control.iter().filter(|t| byte_token(t).is_none() && !merged.contains(**t)) {
            if let Some(id) = self.vocab.remove(*text) {
                self.vocab.insert(hidden(text), id);
                self.unk_token = self.unk_token.map(|u| if u == *text { hidden(&u) } else { u });
            }
        }
        // Caches are for each thread and never shrink.
        let mut builder = BPE::builder().vocab_and_merges(self.vocab, merges).cache_capacity(0);
        if let Some(unknown) = self.unk_token {
            builder = builder.unk_token(unknown);
        }
        let builder = builder
            .fuse_unk(self.fuse_unk == Some(true))
            .byte_fallback(self.byte_fallback == Some(true))
            .ignore_merges(self.ignore_merges == Some(true));
        caught(|| builder.build()).map(ModelWrapper::BPE)
    }

    fn writes_all(&self, bytes: bool) -> bool {
        let has = |text: &str| self.vocab.contains_key(text);
        let falls_back = self.byte_fallback == Some(true);
        (falls_back && (0..=255).all(|byte| has(&format!("<0x{byte:02X}>"))))
            || (bytes && byte_alphabet().iter().all(|(_, c)| has(c.encode_utf8(&mut [0; 4]))))
    }
}

/// Unigram.
#[derive(Deserialize)]
struct Scored {
    vocab: Vec<(String, f64)>,
    unk_id: Option<usize>,
    byte_fallback: Option<bool>,
}

impl Vocabulary for Scored {
    fn ids(&self) -> impl Iterator<Item = u32> {
        (0..).take(self.vocab.len())
    }

    fn each(&self, token: &mut dyn FnMut(&str, u32)) {
        (0..).zip(&self.vocab).for_each(|(id, (text, _))| token(text, id));
    }

    fn build(mut self, control: &HashSet<&str>) -> Result<ModelWrapper, String> {
        for (text, _) in &mut self.vocab {
            if control.contains(text.as_str()) && byte_token(text).is_none() {
                *text = hidden(text);
            }
        }
        let byte_fallback = self.byte_fallback == Some(true);
        let mut model = caught(|| Unigram::from(self.vocab, self.unk_id, byte_fallback))?;
        model.resize_cache(0);
        Ok(ModelWrapper::Unigram(model))
    }

    /// Unknown characters are joined.
    fn writes_all(&self, _: bool) -> bool {
        false
    }
}
