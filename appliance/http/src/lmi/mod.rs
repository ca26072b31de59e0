//! LMI's schema on `/invocations`: `{"inputs": …, "parameters": {…}, "stream": …}`, and TGI's
//! spellings of it.
//!
//! Chat and completion bodies on the same route are OpenAI's (`openai/`). Reading order:
//! `request`, `shapes`, `response`.

mod request;
mod response;
pub(crate) mod shapes;
mod shown;

pub(crate) use request::invocation;
pub(crate) use response::number;

use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::sampling::Sampling;
use crate::structured::Structured;

/// The structs of a body, and those of its parameters.
pub(crate) fn parts() -> [Vec<RefOr<Schema>>; 2] {
    let own = request::LmiParameters::schema();
    let parameters = vec![Sampling::schema(), Structured::schema(), own];
    [vec![request::LmiFields::schema()], parameters]
}

/// The members of a body's struct, and of its parameters'.
#[cfg(test)]
pub(crate) fn members() -> [Vec<&'static str>; 2] {
    use crate::members::tests::names;

    let body = [names::<request::LmiFields>(), &["parameters"]].concat();
    [body, [names::<Sampling>(), names::<request::LmiParameters>(), names::<Structured>()].concat()]
}
