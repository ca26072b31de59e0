//! Anthropic's schema: `/v1/messages` and `/v1/messages/count_tokens`.
//!
//! A body is brought into the form of a chat and run as one (`openai/asked.rs`); the answer is told in
//! Anthropic's words. Nothing is run, parsed or counted here. Reading order: `request`, `history`,
//! `tools`, `shapes`, `answer`.

mod answer;
mod history;
mod request;
pub(crate) mod shapes;
mod tools;

pub(crate) use request::{count_tokens, messages};

use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};

/// The structs of a body.
pub(crate) fn parts() -> [RefOr<Schema>; 1] {
    [request::MessagesFields::schema()]
}

/// Their members.
#[cfg(test)]
pub(crate) fn members() -> Vec<&'static str> {
    crate::members::tests::names::<request::MessagesFields>().to_vec()
}
