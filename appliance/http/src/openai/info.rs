//! What the server is and holds: models (OpenAI's and vLLM's members), `/tokenizer_info`, `/version`
//! and `/load` (vLLM's shapes).
//!
//! Next: `../exposition.rs`.

use gimbal_engine::Service;
use serde_json::{Value, json};

use crate::AppState;

/// The models that serve.
pub(crate) fn models(app: &AppState) -> Value {
    let data: Vec<Value> = app.services().iter().map(|service| model(app, service)).collect();
    json!({ "object": "list", "data": data })
}

/// One model. Its root is its name: where its files lie is nobody's business.
pub(crate) fn model(app: &AppState, service: &Service) -> Value {
    json!({
        "id": service.name(), "object": "model", "created": app.started_unix(),
        "owned_by": "gimbal", "root": service.name(), "parent": null,
        "max_model_len": service.max_model_len(), "permission": [],
    })
}

/// What a client needs to write prompts itself.
pub(crate) fn tokenizer_info(service: &Service) -> Value {
    let tokenizer = service.tokenizer();
    let known = |text: String| Some(text).filter(|text| !text.is_empty());
    json!({
        // Any `tokenizer.json` is one of these.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "vocab_size": tokenizer.vocabulary_len(),
        "model_max_length": service.max_model_len(),
        "bos_token": known(tokenizer.bos_text()),
        "eos_token": known(tokenizer.eos_text()),
        "eos_token_ids": tokenizer.end_tokens(),
        "chat_template": service.template().map(|template| template.source()),
    })
}

/// The version of the binary.
pub(crate) fn version() -> Value {
    json!({ "version": env!("CARGO_PKG_VERSION") })
}

/// Requests inside.
pub(crate) fn load(app: &AppState) -> Value {
    let inside = app
        .services()
        .iter()
        .fold(0_u32, |sum, service| sum.saturating_add(service.requests_inside()));
    json!({ "server_load": inside })
}
