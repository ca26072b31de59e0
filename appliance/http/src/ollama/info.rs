//! What models there are, as Ollama tells them. Files have no names and no digests here: nobody can
//! push or pull them.
//!
//! Next: `../openapi.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::Service;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::answer::moment;
use super::request::named;
use crate::AppState;
use crate::call::{self, Call, tell_ignored};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::members::part;
use crate::names::Scope;
use crate::openai::reasoning;
use crate::schemas;

/// The models that serve.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaModels {
    models: Vec<OllamaModel>,
}

/// One of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaModel {
    name: String,
    model: String,
    /// When it was loaded.
    modified_at: String,
    size: u64,
    digest: &'static str,
    details: OllamaDetails,
}

/// What it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaDetails {
    parent_model: &'static str,
    format: &'static str,
    family: &'static str,
    families: Vec<&'static str>,
    parameter_size: &'static str,
    quantization_level: &'static str,
}

/// A model, and what its answers can be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaShown {
    modelfile: &'static str,
    parameters: String,
    template: String,
    details: OllamaDetails,
    model_info: Map<String, Value>,
    capabilities: Vec<&'static str>,
    modified_at: String,
}

/// The version of the binary.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaVersion {
    version: &'static str,
}

/// What a body of `/api/show` says.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ShowFields {
    #[schema(schema_with = schemas::text)]
    model: Option<String>,
    #[schema(schema_with = schemas::text)]
    name: Option<String>,
}

const DETAILS: OllamaDetails = OllamaDetails {
    parent_model: "",
    format: "",
    family: "",
    families: Vec::new(),
    parameter_size: "",
    quantization_level: "",
};

/// The models that serve, for `/api/tags` and, as all of them are loaded, `/api/ps`.
pub(crate) fn tags(app: &AppState) -> OllamaModels {
    let modified_at = moment(app.started_unix(), 0);
    let of = |service: &std::sync::Arc<Service>| OllamaModel {
        name: service.name().to_owned(),
        model: service.name().to_owned(),
        modified_at: modified_at.clone(),
        size: 0,
        digest: "",
        details: DETAILS,
    };
    OllamaModels { models: app.services().iter().map(of).collect() }
}

/// As `tags`.
pub(crate) fn ps(app: &AppState) -> OllamaModels {
    tags(app)
}

/// The version of the binary.
pub(crate) fn version() -> OllamaVersion {
    OllamaVersion { version: env!("CARGO_PKG_VERSION") }
}

/// One model.
pub(crate) fn show(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::OllamaShow)?;
    let own: ShowFields = part(&mut fields)?;
    let service = named(call, own.model.as_deref().or(own.name.as_deref()))?;
    let sampling = &service.edge().sampling;
    let parameters = format!(
        "temperature {}\ntop_k {}\ntop_p {}\nmin_p {}",
        sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p
    );
    let mut capabilities = vec!["completion"];
    if service.template().is_some() {
        capabilities.push("tools");
    }
    if reasoning(&service).is_some() {
        capabilities.push("thinking");
    }
    let architecture = [
        ("general.basename", Value::from(service.name())),
        ("general.context_length", service.max_model_len().into()),
        ("general.vocab_size", service.tokenizer().vocabulary_len().into()),
    ];
    let mut response = call::json(&OllamaShown {
        modelfile: "",
        parameters,
        template: service.template().map_or("", |template| template.source()).to_owned(),
        details: DETAILS,
        model_info: architecture
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect(),
        capabilities,
        modified_at: moment(call.app.started_unix(), 0),
    });
    tell_ignored(&mut response, &fields);
    Ok(response)
}
