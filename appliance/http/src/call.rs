//! One request on its way through the edge: what every handler needs besides its own fields.
//!
//! Next: `router.rs`.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use serde_json::Value;

use crate::AppState;
use crate::fault::{Door, Fault, Schema};
use crate::fields::{Fields, ignored_header};

/// The header that names body fields which had no effect.
const IGNORED: &str = "x-gimbal-ignored";

/// A request whose body was read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: AppState,
    pub(crate) door: Door,
    pub(crate) headers: HeaderMap,
}

impl Call {
    /// True if the client accepts this media type by name.
    pub(crate) fn accepts(&self, media_type: &str) -> bool {
        let accept = self.headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        accept
            .flat_map(|v| v.split(','))
            .any(|v| v.split(';').next().is_some_and(|v| v.trim().eq_ignore_ascii_case(media_type)))
    }

    /// The answer or the fault, in the schema the client speaks.
    pub(crate) fn respond(
        &self,
        schema: Schema,
        answer: Result<Response<Body>, Fault>,
    ) -> Response<Body> {
        answer.unwrap_or_else(|fault| fault.response(schema, self.door))
    }
}

/// A JSON body with its length; never chunked, as the cloud's asynchronous calls need it.
pub(crate) fn json(body: &Value) -> Response<Body> {
    json_text(body.to_string())
}

/// JSON that is written already.
pub(crate) fn json_text(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Tells which fields had no effect.
pub(crate) fn tell_ignored(response: &mut Response<Body>, fields: &[&Fields]) {
    let names = fields.iter().flat_map(|fields| fields.ignored());
    let header = ignored_header(names).and_then(|names| HeaderValue::from_str(&names).ok());
    if let Some(value) = header {
        response.headers_mut().insert(IGNORED, value);
    }
}
