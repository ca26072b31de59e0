//! One request on its way through the edge: what every handler needs besides its own fields.
//!
//! Next: `router.rs`.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, header};
use bytes::Bytes;
use serde::Serialize;

use gimbal_engine::{Client, Edge, OutputFormatter};

use crate::AppState;
use crate::budget::Share;
use crate::fault::{Door, Fault};
use crate::fields::{Fields, ignored_header};
use crate::framing::Framing;
use crate::peer::Peer;

/// The header that names body fields which had no effect.
const IGNORED: &str = "x-gimbal-ignored";

/// A request whose body was read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: AppState,
    pub(crate) door: Door,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: Peer,
    /// What the body holds of the memory for bodies; taken away once the body has become tokens.
    pub(crate) share: Option<Share>,
}

impl Call {
    /// Who asks.
    pub(crate) fn client(&self) -> Client {
        self.peer.client(&self.headers)
    }

    /// What separates cached prefixes.
    pub(crate) fn salt(&self, cache_salt: Option<&str>) -> u64 {
        self.peer.salt(&self.headers, cache_salt)
    }

    /// Counts what was made of the body against the memory for bodies.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        self.share.as_mut().map_or(Ok(()), |share| share.grow_by(bytes))
    }

    /// True if the client would read JSON lines rather than events.
    pub(crate) fn accepts_lines(&self) -> bool {
        self.accepts("application/jsonlines") && !self.accepts("text/event-stream")
    }

    /// How OpenAI's streams are framed: on `/invocations` as LMI does, where that is set or asked for.
    pub(crate) fn openai_framing(&self, edge: &Edge) -> Framing {
        let formatter = edge.output_formatter;
        let as_lmi = matches!(formatter, OutputFormatter::Json | OutputFormatter::JsonLines);
        let lines = self.accepts_lines() || as_lmi && !self.accepts("text/event-stream");
        match self.door {
            Door::Invocations if lines => Framing::Lines,
            _ => Framing::Events,
        }
    }

    /// True if the client accepts this media type by name.
    pub(crate) fn accepts(&self, media_type: &str) -> bool {
        let accept = self.headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        accept
            .flat_map(|v| v.split(','))
            .any(|v| v.split(';').next().is_some_and(|v| v.trim().eq_ignore_ascii_case(media_type)))
    }
}

/// A short JSON body with its length. Long ones: `whole.rs`.
pub(crate) fn json(body: &impl Serialize) -> Response<Body> {
    json_text(json_bytes(body))
}

/// A body as JSON.
pub(crate) fn json_bytes(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("names of members are texts").into()
}

/// JSON that is written already.
pub(crate) fn json_text(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Tells which fields had no effect.
pub(crate) fn tell_ignored(response: &mut Response<Body>, fields: &Fields) {
    let header =
        ignored_header(fields.ignored()).and_then(|names| HeaderValue::from_str(&names).ok());
    if let Some(value) = header {
        response.headers_mut().insert(IGNORED, value);
    }
}
