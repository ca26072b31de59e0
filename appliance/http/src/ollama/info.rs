//! What models there are, as Ollama tells them. Files have no digests here: nobody can push or pull them.
//!
//! Next: `../openapi.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Made, Service};
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
    /// In bytes.
    size: u64,
    details: OllamaDetails,
}

/// What it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaDetails {
    parent_model: &'static str,
    format: &'static str,
    /// Millions or billions, such as `134.5M`.
    parameter_size: String,
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

impl OllamaDetails {
    fn of(made: &Made) -> Self {
        Self {
            parent_model: "",
            format: made.format,
            parameter_size: size(made.parameters),
            quantization_level: made.dtype,
        }
    }
}

/// How many parameters, as people say it.
fn size(parameters: u64) -> String {
    let millions = parameters as f64 / 1e6;
    match parameters {
        0 => String::new(),
        1..1_000_000_000 => format!("{millions:.2}M"),
        _ => format!("{:.1}B", millions / 1e3),
    }
}

/// The models that serve, for `/api/tags` and, as all of them are loaded, `/api/ps`.
pub(crate) fn tags(app: &AppState) -> OllamaModels {
    let modified_at = moment(app.started_unix(), 0);
    let of = |service: &std::sync::Arc<Service>| OllamaModel {
        name: service.name().to_owned(),
        model: service.name().to_owned(),
        modified_at: modified_at.clone(),
        size: service.place().made.bytes,
        details: OllamaDetails::of(&service.place().made),
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
        ("general.parameter_count", service.place().made.parameters.into()),
        ("general.context_length", service.max_model_len().into()),
        ("general.vocab_size", service.tokenizer().vocabulary_len().into()),
    ];
    let mut response = call::json(&OllamaShown {
        modelfile: "",
        parameters,
        template: service.template().map_or("", |template| template.source()).to_owned(),
        details: OllamaDetails::of(&service.place().made),
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
