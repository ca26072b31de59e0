//! What llama.cpp's server has beside OpenAI's routes: `/completion`, `/apply-template`, `/props`.
//!
//! Contract: <https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md>. Fields that
//! other schemas share are read and meant as there; slots, caches on disk and infilling have no
//! counterpart here. Reading order: `completion`, `shapes`, `answer`, `info`.

mod answer;
mod completion;
mod info;
pub(crate) mod shapes;

pub(crate) use completion::completion;
pub(crate) use info::{Props, Templated, apply_template, props};

use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::sampling::Sampling;
use crate::structured::Structured;

/// The structs of a body of `/completion`.
pub(crate) fn parts() -> Vec<RefOr<Schema>> {
    vec![Sampling::schema(), Structured::schema(), completion::LlamaFields::schema()]
}

/// Their members.
#[cfg(test)]
pub(crate) fn members() -> Vec<&'static str> {
    use crate::members::tests::names;

    [names::<Sampling>(), names::<Structured>(), names::<completion::LlamaFields>()].concat()
}
