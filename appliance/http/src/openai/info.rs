//! What the server is and holds: models (OpenAI's and vLLM's members), `/tokenizer_info`, `/version`
//! and `/load` (vLLM's shapes).
//!
//! Next: `../exposition.rs`.

use gimbal_engine::Service;
use serde::Serialize;
use utoipa::ToSchema;

use crate::AppState;

/// The models that serve.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Models {
    object: &'static str,
    data: Vec<Model>,
}

/// One model. Its root is its name: where its files lie is nobody's business.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    root: String,
    #[schema(required = true)]
    parent: Option<&'static str>,
    max_model_len: u32,
    #[schema(value_type = Vec<Object>, max_items = 0)]
    permission: [(); 0],
}

/// What a client needs to write prompts itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenizerInfo {
    tokenizer_class: &'static str,
    vocab_size: usize,
    model_max_length: u32,
    #[schema(required = true)]
    bos_token: Option<String>,
    #[schema(required = true)]
    eos_token: Option<String>,
    eos_token_ids: Vec<u32>,
    #[schema(required = true)]
    chat_template: Option<String>,
}

/// The version of the binary.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    version: &'static str,
}

/// Requests inside, of all models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Load {
    server_load: u32,
}

/// The models that serve.
pub(crate) fn models(app: &AppState) -> Models {
    let data = app.services().iter().map(|service| model(app, service)).collect();
    Models { object: "list", data }
}

/// One of them.
pub(crate) fn model(app: &AppState, service: &Service) -> Model {
    Model {
        id: service.name().to_owned(),
        object: "model",
        created: app.started_unix(),
        owned_by: "gimbal",
        root: service.name().to_owned(),
        parent: None,
        max_model_len: service.max_model_len(),
        permission: [],
    }
}

/// What a client needs to write prompts itself.
pub(crate) fn tokenizer_info(service: &Service) -> TokenizerInfo {
    let tokenizer = service.tokenizer();
    let known = |text: String| Some(text).filter(|text| !text.is_empty());
    TokenizerInfo {
        // Any `tokenizer.json` is one of these.
        tokenizer_class: "PreTrainedTokenizerFast",
        vocab_size: tokenizer.vocabulary_len(),
        model_max_length: service.max_model_len(),
        bos_token: known(tokenizer.bos_text()),
        eos_token: known(tokenizer.eos_text()),
        eos_token_ids: tokenizer.end_tokens().to_vec(),
        chat_template: service.template().map(|template| template.source().to_owned()),
    }
}

/// The version of the binary.
pub(crate) fn version() -> Version {
    Version { version: env!("CARGO_PKG_VERSION") }
}

/// Requests inside.
pub(crate) fn load(app: &AppState) -> Load {
    let add =
        |sum: u32, service: &std::sync::Arc<Service>| sum.saturating_add(service.requests_inside());
    Load { server_load: app.services().iter().fold(0, add) }
}
