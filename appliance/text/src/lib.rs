//! Text to token ids and back: tokenizers, chat templates, incremental decoding, stop strings.
//!
//! Nothing here reads files, runs a model or knows HTTP. A tokenizer is built from plain data
//! ([`TokenizerData`]), which the binary fills from a model file's metadata.
//!
//! Reading order: `tokenizer` (data in, ids out), `pre` (how text is cut into words), `bpe` (how a
//! word becomes tokens), `specials` (tokens that are not text), `template` (messages to a prompt),
//! `decoder` (ids to text, piece by piece), `stop` (where to end).
//!
//! # Invariants
//! - No text that ends in half a character is ever emitted; what a stream emits in pieces equals
//!   the decoding of the whole.
//! - A control token is produced from text only where a template wrote it or where the caller of
//!   [`Tokenizer::encode`] asks for it: a user's message cannot forge the end of a turn.
//! - Nothing panics on bad data; every loop and every output has a bound.
//! - Absent: the `tokenizers` crate. It is the oracle of the tests only; a byte-level BPE without
//!   alignments is 150 lines, starts faster, and has no per-thread caches.

#![forbid(unsafe_code)]

mod bpe;
mod decoder;
mod error;
mod hash;
mod pre;
mod python;
mod specials;
mod stop;
mod template;
mod tokenizer;

pub use decoder::Decoder;
pub use error::TextError;
pub use pre::pre_names;
pub use stop::{StopStrings, Stopped};
pub use template::{ChatTemplate, RenderOptions};
pub use tokenizer::{Tokenizer, TokenizerData};
