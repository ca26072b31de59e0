//! OpenAI's schema: chat, completions, models, and what vLLM has beside them.
//!
//! Reading order: `request` (fields both share), `conversation`, `history`, `tools`,
//! `asked` (how a chat is run, for every door), `spoken` and `blocks` (what its answer says), `chat`, `completions`, `shapes`, `logprobs`, `tokens`, `info`, `parts`.

mod asked;
mod blocks;
mod chat;
mod completions;
mod conversation;
mod history;
mod info;
mod logprobs;
mod parts;
mod request;
pub(crate) mod shapes;
mod spoken;
mod tokens;
mod tools;

pub(crate) use asked::{Asked, Running, has_variable, reasoning};
pub(crate) use blocks::{Block, Blocks, Change};
pub(crate) use chat::chat;
pub(crate) use completions::completions;
pub(crate) use conversation::Conversation;
pub(crate) use info::{Load, Model, Models, TokenizerInfo, Version};
pub(crate) use info::{load, model, models, tokenizer_info, version};
pub(crate) use logprobs::logprobs_of;
#[cfg(test)]
pub(crate) use parts::members;
pub(crate) use parts::{parts, stream_options};
pub(crate) use request::alternatives;
pub(crate) use spoken::Reading;
pub(crate) use tokens::{Detokenized, Tokenized, detokenize, tokenize};
pub(crate) use tools::ToolFields;
