//! What every response has: a request id, a line in the log, a count in the metrics.
//!
//! Never a prompt, a header or a key; never a line for what is polled. Next: `state.rs`.

use std::hash::{BuildHasher, RandomState};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Response};
use axum::middleware::Next;
use gimbal_engine::meters;
use metrics::counter;
use tokio::time::Instant;
use tracing::info;

use crate::AppState;
use crate::journal::Note;
use crate::state::unix_ms;

/// Routes that are asked every second or so: a line each would hide the others.
const POLLED: [&str; 4] = ["/ping", "/health", "/metrics", "/status"];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Letters of an id that a client may choose.
const REQUEST_ID_MAX: usize = 128;

/// Wraps every request.
pub(crate) async fn observe(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let from = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    if let Some(note) = response.extensions_mut().remove::<Note>() {
        app.journal().add(unix_ms(), route, response.status(), note);
    }
    let status = response.status().as_u16();
    let labels = [("route", route.to_owned()), ("status", status.to_string())];
    counter!(meters::HTTP, &labels).increment(1);
    if !POLLED.contains(&route) {
        let ms = u64::try_from(from.elapsed().as_millis()).unwrap_or(u64::MAX);
        let request_id = id.to_str().unwrap_or_default();
        info!(request_id, %method, route, status, ms, "request");
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The client's own id, where it is short and visible; otherwise a new one.
fn request_id(request: &Request) -> HeaderValue {
    let legal = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    if let Some(id) = request.headers().get(REQUEST_ID).filter(legal) {
        return id.clone();
    }
    let id = HeaderValue::from_str(&format!("req-{}", random_hex()));
    id.unwrap_or_else(|_| HeaderValue::from_static("req"))
}

/// Sixteen random hexadecimal digits.
pub(crate) fn random_hex() -> String {
    format!("{:016x}", RandomState::new().hash_one(Instant::now()))
}
