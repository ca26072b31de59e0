//! What every response has: a request id, a line in the log, a count in the metrics.
//!
//! Never a prompt, a header or a key; never a line for what is polled. Next: `state.rs`.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use axum::middleware::Next;
use gimbal_engine::meters;
use metrics::counter;
use tokio::time::Instant;
use tracing::info;

use crate::AppState;
use crate::connections::Crowded;
use crate::fault::{Door, Fault, Kind, Schema};
use crate::journal::Note;
use crate::repeats::Alike;
use crate::routes::{self, Traffic};
use crate::state::unix_ms;

/// How often counts are told that nothing else makes told.
const REST_PERIOD: Duration = Duration::from_secs(1);
/// Methods that are told by name; a client may invent others of any length.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::POST,
    Method::HEAD,
    Method::OPTIONS,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where Anthropic's clients look for it.
const ANTHROPIC_ID: HeaderName = HeaderName::from_static("request-id");
/// A body that nobody needs is thrown away up to here, if it comes within this time.
const DRAINED_BYTES_MAX: usize = 64 << 10;
const DRAIN_TIME: Duration = Duration::from_millis(50);
/// Letters of an id that a client may choose.
const REQUEST_ID_MAX: usize = 128;

/// Wraps every request.
pub(crate) async fn observe(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let from = Instant::now();
    let id = request_id(&request);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let is_anthropic = schema_of(&request) == Schema::Anthropic;
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let traffic = traffic(route.as_ref().map_or("", MatchedPath::as_str));
    let is_polled = traffic == Traffic::Polled;
    let is_crowded = request.extensions().get::<Crowded>().is_some();
    let web = &app.settings().web;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match web.check(&request) {
        _ if is_crowded && !is_polled => crowded(),
        Err(fault) => {
            let schema = schema_of(&request);
            early(request, &fault, schema).await
        }
        Ok(()) => match web.preflight(&request) {
            Some(response) => response,
            None => next.run(request).await,
        },
    };
    web.tell(origin.as_ref(), &mut response);
    if is_crowded {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    if let Some(note) = response.extensions_mut().remove::<Note>() {
        app.journal().add(unix_ms(), route, response.status(), note);
    }
    let status = response.status().as_u16();
    let labels = [("route", route.to_owned()), ("status", status.to_string())];
    counter!(meters::HTTP, &labels).increment(1);
    if !is_polled {
        let method = METHODS.iter().find(|known| **known == method).map_or("other", Method::as_str);
        let request_id = id.to_str().unwrap_or_default();
        log(&app, Alike { method, route: route.to_owned(), status }, request_id, from.elapsed());
    }
    if is_anthropic {
        response.headers_mut().insert(ANTHROPIC_ID, id.clone());
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn traffic(route: &str) -> Traffic {
    routes::find(route).map_or(Traffic::Other, |route| route.traffic)
}

/// A line for each answer that cost something, and one a second for all that are the same.
fn log(app: &AppState, seen: Alike, request_id: &str, took: Duration) {
    let is_answer = seen.status < 400 && traffic(&seen.route) == Traffic::Answers;
    let times = if is_answer { Some(1) } else { app.repeats().note(&seen, Instant::now()) };
    let Some(times) = times else { return };
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let Alike { method, route, status } = seen;
    match times {
        1 => info!(request_id, method, route, status, ms, "request"),
        _ => info!(request_id, method, route, status, ms, times, "requests"),
    }
}

/// Tells, once a second, what was counted and not told; until dropped.
pub(crate) async fn tell_rest(app: &AppState) {
    loop {
        tokio::time::sleep(REST_PERIOD).await;
        let rest = app.repeats().rest(Instant::now());
        for (Alike { method, route, status }, times) in rest {
            info!(method, route, status, times, "requests");
        }
    }
}

/// Answers before the body was read. One that is there is thrown away, so that the connection can go
/// on; otherwise the client is told that it cannot.
pub(crate) async fn early(request: Request, fault: &Fault, schema: Schema) -> Response<Body> {
    let fault = fault.clone().of_request(id_of(request.headers()));
    let drained = axum::body::to_bytes(request.into_body(), DRAINED_BYTES_MAX);
    let is_drained = matches!(tokio::time::timeout(DRAIN_TIME, drained).await, Ok(Ok(_)));
    let mut response = fault.response(schema, Door::V1);
    if !is_drained {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The schema of who asks for a path that may be none of ours.
pub(crate) fn schema_of(request: &Request) -> Schema {
    match request.uri().path() {
        path if path.starts_with("/v1/messages") => Schema::Anthropic,
        path if path.starts_with("/api/") => Schema::Ollama,
        path if path.starts_with("/v1") => Schema::OpenAi,
        _ => Schema::Lmi,
    }
}

fn crowded() -> Response<Body> {
    let message = "too many connections are open; try again";
    let fault = Fault::new(Kind::Unavailable, message);
    Fault { retry_after_ms: Some(1000), ..fault }.response(Schema::OpenAi, Door::V1)
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

/// The id of a request that has come by here.
pub(crate) fn id_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(REQUEST_ID)?.to_str().ok()
}

/// Sixteen random hexadecimal digits.
pub(crate) fn random_hex() -> String {
    format!("{:016x}", gimbal_text::random())
}
