//! `/tokenize`, `/detokenize` (vLLM's shapes) and `/v1/models`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Prompt, Service, text_pool};
use serde_json::{Value, json};

use super::chat;

use crate::AppState;
use crate::call::{self, Call, tell_ignored};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::names::Scope;

/// Tokens that are written as text at once: more than any context, and some megabytes.
const DETOKENIZE_MAX: usize = 1 << 20;

/// Token ids of `prompt`, or of `messages` by the model's template.
pub(crate) async fn tokenize(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Tokenize)?;
    let service = call.app.model(fields.text("model")?.as_deref(), call.door)?;
    // The model's own rule is followed; vLLM's default is the same.
    if fields.has("messages") && fields.has("prompt") {
        return Err(Fault::field("prompt", "not beside messages: it is one or the other"));
    }
    let prompt = if fields.has("messages") {
        chat::prompt(&mut fields)?
    } else {
        let text = fields.text("prompt")?;
        let text = text.ok_or_else(|| Fault::field("prompt", "is missing"))?;
        prompt_of(text, fields.flag("add_special_tokens")?.unwrap_or(true))
    };
    let _place = service.permits(1)?;
    let tokens = service.tokenize(call.client(), prompt).await?;
    let max_model_len = service.max_model_len();
    let answer = json!({ "count": tokens.len(), "max_model_len": max_model_len, "tokens": tokens });
    let mut response = call::json(&answer);
    tell_ignored(&mut response, &[&fields]);
    Ok(response)
}

/// A text with or without what the tokenizer puts around it.
pub(super) fn prompt_of(text: String, add_special_tokens: bool) -> Prompt {
    if add_special_tokens { Prompt::Text(text) } else { Prompt::Plain(text) }
}

/// The text of `tokens`.
pub(crate) async fn detokenize(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Detokenize)?;
    let service = call.app.model(fields.text("model")?.as_deref(), call.door)?;
    let tokens = fields.tokens::<DETOKENIZE_MAX>("tokens")?;
    let tokens = tokens.ok_or_else(|| Fault::field("tokens", "is missing"))?;
    let known = service.tokenizer().vocabulary_len();
    if let Some(id) = tokens.iter().find(|id| **id as usize >= known) {
        return Err(Fault::field("tokens", format!("{id} is no token: there are {known}")));
    }
    let _place = service.permits(1)?;
    let tokenizer = service.tokenizer().clone();
    let decode = move || call::json(&json!({ "prompt": tokenizer.decode(&tokens, false) }));
    let mut response = text_pool::run(call.client(), decode).await?;
    tell_ignored(&mut response, &[&fields]);
    Ok(response)
}

/// The models that serve.
pub(crate) fn models(app: &AppState) -> Value {
    let data: Vec<Value> = app.models().iter().map(|service| model(app, service)).collect();
    json!({ "object": "list", "data": data })
}

/// One model.
pub(crate) fn model(app: &AppState, service: &Service) -> Value {
    json!({
        "id": service.name(), "object": "model", "created": app.started_unix(),
        "owned_by": "gimbal", "max_model_len": service.max_model_len(),
    })
}
