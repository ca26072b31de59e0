//! Ollama's API: `/api/chat`, `/api/generate`, `/api/show`, `/api/tags`, `/api/ps` and `/api/version`.
//!
//! A body is brought into the form of a chat and run as one (`openai/asked.rs`); streams are lines of
//! JSON, and are the default. What only Ollama's own store of models can do has no route. Contract:
//! <https://github.com/ollama/ollama/blob/main/docs/api.md>. Reading order: `request`, `options`,
//! `history`, `shapes`, `answer`, `info`.

mod answer;
mod history;
mod info;
mod options;
mod request;
pub(crate) mod shapes;

pub(crate) use info::{OllamaModels, OllamaShown, OllamaVersion, ps, show, tags, version};
pub(crate) use request::{chat, generate};

use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::names::Scope;

/// The structs of a body.
pub(crate) fn parts(scope: Scope) -> Vec<RefOr<Schema>> {
    match scope {
        Scope::OllamaChat => vec![request::ChatFields::schema(), request::Common::schema()],
        Scope::OllamaGenerate => {
            vec![request::GenerateFields::schema(), request::Common::schema()]
        }
        Scope::OllamaOptions => vec![options::Options::schema()],
        Scope::OllamaShow => vec![info::ShowFields::schema()],
        _ => Vec::new(),
    }
}

/// Their members.
#[cfg(test)]
pub(crate) fn members(scope: Scope) -> Vec<&'static str> {
    use crate::members::tests::names;

    let common = [names::<request::Common>(), &["options"]].concat();
    match scope {
        Scope::OllamaChat => [common.as_slice(), names::<request::ChatFields>()].concat(),
        Scope::OllamaGenerate => [common.as_slice(), names::<request::GenerateFields>()].concat(),
        Scope::OllamaOptions => names::<options::Options>().to_vec(),
        Scope::OllamaShow => names::<info::ShowFields>().to_vec(),
        _ => Vec::new(),
    }
}
