//! Text to token ids and back: tokenizers, chat templates, incremental decoding, stop strings.
//!
//! Nothing here reads files, runs a model or knows HTTP. A tokenizer is built from plain data
//! ([`TokenizerData`]), which the binary fills from a GGUF file's metadata, or from the bytes of a
//! `tokenizer.json`.
//!
//! Reading order: `data` (what a GGUF file says) with `traits` (what is known by names), `tokenizer` (text in, ids out), `specials`
//! (tokens that are not text), `table` (their bytes); then how text becomes tokens: `pre` (cutting
//! it into words), `bpe`, `spm`, `merge` (joining neighbours), `unigram`, `charsmap`, and `json`
//! with `named` (files of Hugging Face; `patience` bounds their expressions); then `template`
//! (messages to a prompt) and `jinja` (its language), `grammar` (what an answer must look like),
//! `decoder` (ids to text, piece by piece), `stop` (where to end), `tools` (calls and thoughts in an
//! answer).
//!
//! # Invariants
//! - No text that ends in half a character is ever emitted; what a stream emits in pieces equals
//!   the decoding of the whole.
//! - A control token is produced from text only where a template wrote all its letters itself, or where the caller of
//!   [`Tokenizer::encode`] asks for it: a user's message cannot forge the end of a turn.
//! - Nothing panics on bad data; every loop and every output has a bound.
//! - The `tokenizers` crate works only for `tokenizer.json`, and there by its parts, without its
//!   threads and caches; GGUF vocabularies are encoded by our own code, which starts faster.

#![forbid(unsafe_code)]

mod alphabet;
mod bpe;
mod charsmap;
mod data;
mod decoder;
mod error;
mod grammar;
mod hash;
mod jinja;
mod json;
mod merge;
mod named;
mod patience;
mod pre;
mod random;

mod specials;
mod spm;
mod stop;
mod table;
mod template;
mod tokenizer;
mod tools;
mod traits;
mod unigram;

pub use data::TokenizerData;
pub use decoder::Decoder;
pub use error::TextError;
pub use grammar::{Grammar, GrammarError, GrammarSource, Grammars, Matching};
pub use jinja::utc;
pub use named::Named;
pub use pre::pre_names;
pub use random::random;
pub use stop::{StopStrings, Stopped};
pub use template::{ChatTemplate, RenderOptions};
pub use tokenizer::Tokenizer;
pub use tools::{
    Piece, ReasoningFormat, ReasoningSplitter, Thought, ToolChoice, ToolError, ToolFormat,
    ToolParser, ToolSpec, grammar as tool_grammar, grammar_or as tool_grammar_or,
};
