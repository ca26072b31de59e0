//! `/props` and `/apply-template`.
//!
//! Next: `../openapi.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{GenerateRequest, Prompt, Service};
use serde::Serialize;
use utoipa::ToSchema;

use super::shapes::LlamaSettings;
use crate::call::{self, Call, tell_ignored};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::members::part;
use crate::names::Scope;
use crate::openai::{Asked, Conversation, ToolFields};
use crate::whole;

/// What the server is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Props<'a> {
    default_generation_settings: Defaults<'a>,
    total_slots: u32,
    model_alias: &'a str,
    /// Where files lie is nobody's business.
    model_path: &'a str,
    chat_template: &'a str,
    bos_token: String,
    eos_token: String,
    modalities: Modalities,
    build_info: &'static str,
    is_sleeping: bool,
}

/// How requests that say nothing are answered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Defaults<'a> {
    n_ctx: u32,
    params: LlamaSettings<'a>,
}

/// What messages may hold beside text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Modalities {
    vision: bool,
    audio: bool,
}

/// A conversation by the model's template.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Templated {
    prompt: String,
}

/// What the server is, of its first model.
pub(crate) fn props(service: &Service) -> Response<Body> {
    let tokenizer = service.tokenizer();
    call::json(&Props {
        default_generation_settings: Defaults {
            n_ctx: service.max_model_len(),
            params: LlamaSettings::of(&service.edge().sampling, -1, &[], -1),
        },
        total_slots: service.policy().max_rolling_batch_size,
        model_alias: service.name(),
        model_path: service.name(),
        chat_template: service.template().map_or("", |template| template.source()),
        bos_token: tokenizer.bos_text(),
        eos_token: tokenizer.eos_text(),
        modalities: Modalities { vision: false, audio: false },
        build_info: concat!("gimbal ", env!("CARGO_PKG_VERSION")),
        is_sleeping: false,
    })
}

/// The prompt that a chat would have: the text of its tokens.
pub(crate) async fn apply_template(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Template)?;
    let conversation: Conversation = part(&mut fields)?;
    let tools: ToolFields = part(&mut fields)?;
    let service = call.app.model(None, call.door)?;
    let base = GenerateRequest::new(Prompt::Tokens(Vec::new()));
    let tokenizer = service.tokenizer().clone();
    let asked = Asked { service, conversation, tools, tree_bytes: 0, base };
    let tokens = asked.tokens(call).await?;
    let prompt = tokenizer.decode(&tokens, false);
    let mut response = whole::json(call, call::json_bytes(&Templated { prompt }))?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}
