//! OpenAI's Responses API: `/v1/responses`, and what is kept of its answers.
//!
//! A body is brought into the form of a chat and run as one (`openai/asked.rs`); the answer is told as
//! items. Nothing is run, parsed or counted here. Reading order: `request`, `input`, `history`,
//! `options`, `shapes`, `events`, `answer`, `kept` (what later requests may refer to), `stored` (its routes).

mod answer;
mod events;
mod history;
mod input;
mod kept;
mod options;
mod request;
pub(crate) mod shapes;
mod stored;

pub(crate) use kept::Kept;
pub(crate) use request::responses;
pub(crate) use stored::{delete, items, response};

use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};

/// The structs of a body.
pub(crate) fn parts() -> [RefOr<Schema>; 1] {
    [request::ResponsesFields::schema()]
}

/// Their members.
#[cfg(test)]
pub(crate) fn members() -> Vec<&'static str> {
    crate::members::tests::names::<request::ResponsesFields>().to_vec()
}
