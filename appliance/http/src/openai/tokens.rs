//! `/tokenize`, `/detokenize` (vLLM's shapes) and `/v1/models`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::Prompt;
use serde_json::{Map, Value, json};

use crate::AppState;
use crate::call::{self, Call, tell_ignored};
use crate::fault::Fault;
use crate::fields::Fields;

/// Token ids of `prompt`, or of `messages` by the model's template.
pub(crate) async fn tokenize(call: &Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    let service = call.app.model(fields.text("model")?.as_deref())?;
    let prompt = match fields.take("messages") {
        Some(Value::Array(messages)) => {
            let add_generation_prompt = fields.flag("add_generation_prompt")?.unwrap_or(true);
            Prompt::Chat { messages, variables: Map::new(), add_generation_prompt }
        }
        Some(_) => return Err(Fault::field("messages", "must be a list")),
        None => {
            let text = fields.text("prompt")?;
            Prompt::Text(text.ok_or_else(|| Fault::field("prompt", "is missing"))?)
        }
    };
    let tokens = service.tokenize(prompt).await?;
    let max_model_len = service.max_model_len();
    let answer = json!({ "count": tokens.len(), "max_model_len": max_model_len, "tokens": tokens });
    let mut response = call::json(&answer);
    tell_ignored(&mut response, &[&fields]);
    Ok(response)
}

/// The text of `tokens`.
pub(crate) fn detokenize(call: &Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    let service = call.app.model(fields.text("model")?.as_deref())?;
    let tokens = fields.tokens("tokens")?;
    let tokens = tokens.ok_or_else(|| Fault::field("tokens", "is missing"))?;
    let known = service.tokenizer().vocabulary_len();
    if let Some(id) = tokens.iter().find(|id| **id as usize >= known) {
        return Err(Fault::field("tokens", format!("{id} is no token: there are {known}")));
    }
    let mut response = call::json(&json!({ "prompt": service.tokenizer().decode(&tokens, false) }));
    tell_ignored(&mut response, &[&fields]);
    Ok(response)
}

/// The models that serve.
pub(crate) fn models(app: &AppState) -> Value {
    let models = app.models();
    let data = models.iter().map(|model| {
        json!({
            "id": model.name(), "object": "model", "created": app.started_unix(),
            "owned_by": "gimbal", "max_model_len": model.max_model_len(),
        })
    });
    json!({ "object": "list", "data": data.collect::<Vec<_>>() })
}
