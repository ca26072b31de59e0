//! Everything that is told to a client instead of an answer: one status policy over all schemas.
//!
//! What can go wrong inside is decided in the engine; here each case gets its status, its code and
//! its body. Next: `fields.rs`.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use gimbal_engine::{QueueNumbers, Refusal};
use gimbal_text::TextError;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::journal::Note;
pub(crate) use crate::kinds::Kind;
use crate::kinds::codes;

/// A request that is not answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// The field at fault, as OpenAI's schema names it.
    pub(crate) field: Option<String>,
    /// More members of the body: numbers a client can act on.
    pub(crate) details: Box<Details>,
    pub(crate) retry_after_ms: Option<u64>,
    /// Which request it is about, for who reads it in the body.
    pub(crate) request_id: Option<String>,
}

/// Numbers that a client can act on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue_len: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job_queue_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_new_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_model_len: Option<u32>,
    /// What the key lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<&'static str>,
}

/// An error as OpenAI tells it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiError<'a> {
    error: OpenAiFault<'a>,
}

/// What is in it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiFault<'a> {
    #[serde(flatten)]
    details: &'a Details,
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field at fault.
    #[schema(required = true)]
    param: Option<&'a str>,
    #[schema(schema_with = codes)]
    code: &'static str,
}

/// An error as LMI tells it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LmiError<'a> {
    #[serde(flatten)]
    details: &'a Details,
    #[serde(rename = "code")]
    status: u16,
    /// The exception DJL-Serving names in the same situation.
    #[serde(rename = "type")]
    kind: &'static str,
    #[schema(schema_with = codes)]
    error: &'static str,
    message: &'a str,
}

/// An error as TGI tells it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TgiError<'a> {
    #[serde(flatten)]
    details: &'a Details,
    error: &'a str,
    error_type: &'static str,
}

/// An error as Anthropic tells it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicFault<'a>,
    #[schema(required = true)]
    request_id: Option<&'a str>,
}

/// What is in it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnthropicFault<'a> {
    #[serde(flatten)]
    details: &'a Details,
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

/// An error as Ollama tells it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OllamaError<'a> {
    #[serde(flatten)]
    details: &'a Details,
    error: &'a str,
}

/// Which body shape a client reads errors in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    Lmi,
    Tgi,
    OpenAi,
    Anthropic,
    /// Also of what has no route there.
    Ollama,
}

/// Which family of routes the request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `/invocations`: the cloud retries by its own rules.
    Invocations,
    /// `/v1/*` and the rest.
    V1,
}

impl Fault {
    /// The fault in words that are ours alone.
    pub(crate) fn note(&self) -> Note {
        let message = match self.kind {
            Kind::UnknownModel => "there is no model of that name".to_owned(),
            Kind::UnknownRoute => "there is no such route".to_owned(),
            Kind::UnknownResponse => "no response of that id is kept".to_owned(),
            Kind::Method => "the route does not take this method".to_owned(),
            Kind::Forbidden => "a web page or a name that is not allowed".to_owned(),
            // Their messages may quote what is wrong; the client has read it.
            Kind::Invalid | Kind::Unsupported => {
                let what = self.field.as_deref().unwrap_or("the body");
                let verdict = match self.kind {
                    Kind::Invalid => "is not valid",
                    _ => "asks for what is not supported",
                };
                format!("{what} {verdict}")
            }
            Kind::TooLong
            | Kind::Key
            | Kind::KeyScope
            | Kind::BodyTooLarge
            | Kind::BodyTooSlow
            | Kind::MediaType
            | Kind::QueueFull
            | Kind::Deadline
            | Kind::TimedOut
            | Kind::Loading
            | Kind::Draining
            | Kind::Unavailable
            | Kind::Internal => self.message.clone(),
        };
        Note { code: self.kind.code(), message }
    }

    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let (message, details) = (message.into(), Box::default());
        Self { kind, message, field: None, details, retry_after_ms: None, request_id: None }
    }

    /// A bad value of a field.
    pub(crate) fn field(field: &str, what: impl std::fmt::Display) -> Self {
        let fault = Self::new(Kind::Invalid, format!("{field}: {what}"));
        Self { field: Some(field.to_owned()), ..fault }
    }

    /// A field that this version cannot honour, and will not pretend to.
    pub(crate) fn unsupported(field: &str) -> Self {
        let fault = Self::new(Kind::Unsupported, format!("{field} is not supported yet"));
        Self { field: Some(field.to_owned()), ..fault }
    }

    /// The same about a request of this id.
    pub(crate) fn of_request(self, id: Option<&str>) -> Self {
        Self { request_id: id.map(str::to_owned), ..self }
    }

    /// The same where fields have other names: of each pair the first becomes the second, in the
    /// field and in the places that the message begins with.
    pub(crate) fn renamed(mut self, names: &[(&str, &str)]) -> Self {
        if !matches!(self.kind, Kind::Invalid | Kind::Unsupported) {
            return self;
        }
        let told = |text: &str| {
            names.iter().fold(text.to_owned(), |text, (ours, theirs)| text.replace(ours, theirs))
        };
        self.message = match self.message.split_once(": ") {
            Some((place, what)) if what.starts_with(place) => told(&self.message),
            Some((place, what)) => format!("{}: {what}", told(place)),
            None => told(&self.message),
        };
        self.field = self.field.as_deref().map(told);
        self
    }

    /// Adds members to the body.
    pub(crate) fn with(self, details: Details) -> Self {
        Self { details: Box::new(details), ..self }
    }

    fn queue(self, numbers: QueueNumbers) -> Self {
        let QueueNumbers { queue_len, job_queue_size, retry_after_ms } = numbers;
        let details = Details {
            queue_len: Some(queue_len),
            job_queue_size: Some(job_queue_size),
            retry_after_ms: Some(retry_after_ms),
            ..Details::default()
        };
        Self { retry_after_ms: Some(retry_after_ms), ..self }.with(details)
    }

    pub(crate) fn status(&self, door: Door) -> StatusCode {
        match (self.kind, door) {
            (Kind::Invalid | Kind::Unsupported | Kind::TooLong, _) => StatusCode::BAD_REQUEST,
            (Kind::UnknownModel | Kind::UnknownRoute | Kind::UnknownResponse, _) => {
                StatusCode::NOT_FOUND
            }
            (Kind::Method, _) => StatusCode::METHOD_NOT_ALLOWED,
            (Kind::Forbidden | Kind::KeyScope, _) => StatusCode::FORBIDDEN,
            (Kind::Key, _) => StatusCode::UNAUTHORIZED,
            (Kind::BodyTooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Kind::MediaType, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (Kind::BodyTooSlow | Kind::TimedOut, _) => StatusCode::REQUEST_TIMEOUT,
            (Kind::QueueFull | Kind::Deadline, Door::V1) => StatusCode::TOO_MANY_REQUESTS,
            (Kind::QueueFull | Kind::Deadline, Door::Invocations)
            | (Kind::Loading | Kind::Draining | Kind::Unavailable, _) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            (Kind::Internal, _) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn status_in(&self, schema: Schema, door: Door) -> StatusCode {
        match (schema, self.kind) {
            (Schema::Tgi, Kind::Invalid | Kind::Unsupported | Kind::TooLong) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            (Schema::Tgi, Kind::QueueFull | Kind::Deadline) => StatusCode::TOO_MANY_REQUESTS,
            (Schema::Tgi, Kind::Internal) => StatusCode::FAILED_DEPENDENCY,
            _ => self.status(door),
        }
    }

    /// The body in a client's schema.
    pub(crate) fn body(&self, schema: Schema, door: Door) -> Value {
        let (details, message, code) = (&*self.details, &*self.message, self.kind.code());
        let body = match schema {
            Schema::Lmi => serde_json::to_value(LmiError {
                details,
                status: self.status(door).as_u16(),
                kind: self.kind.lmi_type(),
                error: code,
                message,
            }),
            Schema::Tgi => {
                let error_type = self.kind.tgi_type();
                serde_json::to_value(TgiError { details, error: message, error_type })
            }
            Schema::OpenAi => serde_json::to_value(OpenAiError {
                error: OpenAiFault {
                    details,
                    message,
                    kind: self.kind.openai_type(),
                    param: self.field.as_deref(),
                    code,
                },
            }),
            Schema::Anthropic => serde_json::to_value(AnthropicError {
                kind: "error",
                error: AnthropicFault { details, kind: self.kind.anthropic_type(), message },
                request_id: self.request_id.as_deref(),
            }),
            Schema::Ollama => serde_json::to_value(OllamaError { details, error: message }),
        };
        body.expect("names of members are texts")
    }

    pub(crate) fn response(&self, schema: Schema, door: Door) -> Response<Body> {
        let body = Body::from(self.body(schema, door).to_string());
        let mut response = Response::new(body);
        *response.status_mut() = self.status_in(schema, door);
        response.extensions_mut().insert(self.note());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.kind == Kind::Key {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(ms) = self.retry_after_ms {
            let seconds = Duration::from_millis(ms).as_secs_f64().ceil().max(1.0);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

/// The engine's field names, in the words of the schema that tells them apart from the message.
fn openai_name(field: &str) -> String {
    if field == "max_new_tokens" { "max_tokens" } else { field }.to_owned()
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::QueueFull(numbers) => Self::new(Kind::QueueFull, message).queue(numbers),
            Refusal::Deadline(numbers) => Self::new(Kind::Deadline, message).queue(numbers),
            Refusal::TooLong { prompt_tokens, max_new_tokens, max_model_len, .. } => {
                Self::new(Kind::TooLong, message).with(Details {
                    prompt_tokens: Some(prompt_tokens),
                    max_new_tokens: Some(max_new_tokens),
                    max_model_len: Some(max_model_len),
                    ..Details::default()
                })
            }
            Refusal::Unsupported { .. } => Self::new(Kind::Unsupported, message),
            Refusal::Invalid { field, what } => {
                Self { field: Some(openai_name(field)), ..Self::field(field, what) }
            }
            Refusal::Text(TextError::Render { .. }) => Self::field("messages", message),
            Refusal::Text(TextError::Text { .. }) => Self::field("prompt", message),
            // The model's owner made a mistake that no request can correct.
            Refusal::Text(_) => Self::new(Kind::Internal, message),
            Refusal::Draining => Self::new(Kind::Draining, message),
            Refusal::Unavailable { .. } => Self::new(Kind::Unavailable, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_full_queue_has_its_status_by_door_and_its_numbers_in_every_schema() {
        let numbers = QueueNumbers { queue_len: 7, job_queue_size: 7, retry_after_ms: 1200 };
        let fault = Fault::from(Refusal::QueueFull(numbers));
        let response = fault.response(Schema::Lmi, Door::Invocations);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(fault.response(Schema::OpenAi, Door::V1).status(), 429);
        let lmi = fault.body(Schema::Lmi, Door::Invocations);
        assert_eq!(lmi["error"], "queue_full");
        assert_eq!((&lmi["queue_len"], &lmi["code"]), (&json!(7), &json!(503)));
        let openai = fault.body(Schema::OpenAi, Door::V1);
        assert_eq!(openai["error"]["type"], "rate_limit_error");
        assert_eq!(openai["error"]["retry_after_ms"], 1200);
    }
}
