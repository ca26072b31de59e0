//! The structs that each of OpenAI's bodies is read as, for `/openapi.json` and for the tests.
//!
//! Next: `../openapi.rs`.

use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};

use super::chat::ChatFields;
use super::completions::CompletionFields;
use super::conversation::Conversation;
use super::logprobs::ShownFields;
use super::request::{Shared, StreamOptions};
use super::tokens::{DetokenizeFields, TokenizeFields};
use super::tools::ToolFields;
use crate::names::Scope;
use crate::sampling::Sampling;
use crate::structured::Structured;

type Shape = RefOr<Schema>;

/// What `stream_options` may say.
pub(crate) fn stream_options() -> Vec<Shape> {
    vec![StreamOptions::schema()]
}

/// The structs of a body in a scope of ours, but for what is nested.
pub(crate) fn parts(scope: Scope) -> Vec<Shape> {
    let (sampling, structured) = (Sampling::schema, Structured::schema);
    let (shared, conversation) = (Shared::schema, Conversation::schema);
    match scope {
        Scope::Chat => {
            let own = [ChatFields::schema(), ShownFields::schema(), ToolFields::schema()];
            [vec![sampling(), structured(), shared(), conversation()], own.into()].concat()
        }
        Scope::Completion => {
            let own = [CompletionFields::schema(), ShownFields::schema()];
            [vec![sampling(), structured(), shared()], own.into()].concat()
        }
        Scope::Tokenize => vec![conversation(), TokenizeFields::schema()],
        Scope::Detokenize => vec![DetokenizeFields::schema()],
        Scope::StreamOptions => stream_options(),
        Scope::Lmi | Scope::LmiParameters | Scope::Messages | Scope::Responses => Vec::new(),
    }
}

/// The members of a scope's structs.
#[cfg(test)]
pub(crate) fn members(scope: Scope) -> Vec<&'static str> {
    use crate::members::tests::names;

    let common =
        [names::<Sampling>(), names::<Structured>(), names::<Shared>(), &["stream_options"]];
    match scope {
        Scope::Chat => {
            let own = [names::<Conversation>(), names::<ChatFields>()];
            let more = [names::<ShownFields>(), names::<ToolFields>()];
            [common.concat(), own.concat(), more.concat()].concat()
        }
        Scope::Completion => {
            [common.concat().as_slice(), names::<CompletionFields>(), names::<ShownFields>()]
                .concat()
        }
        Scope::Tokenize => [names::<Conversation>(), names::<TokenizeFields>()].concat(),
        Scope::Detokenize => names::<DetokenizeFields>().to_vec(),
        Scope::StreamOptions => names::<StreamOptions>().to_vec(),
        Scope::Lmi | Scope::LmiParameters | Scope::Messages | Scope::Responses => Vec::new(),
    }
}
