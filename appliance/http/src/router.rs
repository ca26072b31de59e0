//! All routes, in one table.
//!
//! What a schema means stands in `lmi/` and `openai/`. Next: `access.rs`.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware;
use axum::routing::{get, post};
use gimbal_engine::meters::Station;
use tokio::time::Instant;

use crate::call::{self, Call};
use crate::fault::{Door, Fault, Kind, Schema};
use crate::fields::Fields;
use crate::{AppState, access, alias, body, dashboard, lmi, openai, status};

/// What every route takes and answers, for people and for tools.
const OPENAPI: &str = include_str!("../openapi.json");

/// The routes.
pub(crate) fn router(app: AppState) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/ping", get(ping).post(ping))
        .route("/health", get(ping))
        .route("/invocations", post(invocations))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{*model}", get(model))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), access::observe))
        .with_state(app)
}

async fn page(State(app): State<AppState>) -> Response<Body> {
    if app.settings().dashboard { dashboard::page() } else { dashboard_off() }
}

async fn status(State(app): State<AppState>) -> Response<Body> {
    if app.settings().dashboard { status::response(&app) } else { dashboard_off() }
}

fn dashboard_off() -> Response<Body> {
    let message = "the dashboard and /status are off (dashboard: false)";
    Fault::new(Kind::UnknownRoute, message).response(Schema::OpenAi, Door::V1)
}

/// 200 and empty when all is well; otherwise 503 and why.
async fn ping(State(app): State<AppState>) -> Response<Body> {
    let Some(why) = app.unwell() else { return Response::new(Body::empty()) };
    let mut response = call::json(&why);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// The shape of the body decides the schema.
async fn invocations(State(app): State<AppState>, request: Request) -> Response<Body> {
    let (call, fields) = match open(app, Door::Invocations, request).await {
        Ok(opened) => opened,
        Err((call, fault)) => return call.respond(Schema::Lmi, Err(fault)),
    };
    if fields.has("messages") {
        return call.respond(Schema::OpenAi, openai::chat(&call, fields).await);
    }
    if fields.has("prompt") {
        return call.respond(Schema::OpenAi, openai::completions(&call, fields).await);
    }
    call.respond(Schema::Lmi, lmi::invocation(&call, fields).await)
}

async fn chat(State(app): State<AppState>, request: Request) -> Response<Body> {
    match open(app, Door::V1, request).await {
        Ok((call, fields)) => call.respond(Schema::OpenAi, openai::chat(&call, fields).await),
        Err((call, fault)) => call.respond(Schema::OpenAi, Err(fault)),
    }
}

async fn completions(State(app): State<AppState>, request: Request) -> Response<Body> {
    match open(app, Door::V1, request).await {
        Ok((call, fields)) => {
            call.respond(Schema::OpenAi, openai::completions(&call, fields).await)
        }
        Err((call, fault)) => call.respond(Schema::OpenAi, Err(fault)),
    }
}

async fn tokenize(State(app): State<AppState>, request: Request) -> Response<Body> {
    match open(app, Door::V1, request).await {
        Ok((call, fields)) => call.respond(Schema::OpenAi, openai::tokenize(&call, fields).await),
        Err((call, fault)) => call.respond(Schema::OpenAi, Err(fault)),
    }
}

async fn detokenize(State(app): State<AppState>, request: Request) -> Response<Body> {
    match open(app, Door::V1, request).await {
        Ok((call, fields)) => call.respond(Schema::OpenAi, openai::detokenize(&call, fields)),
        Err((call, fault)) => call.respond(Schema::OpenAi, Err(fault)),
    }
}

async fn models(State(app): State<AppState>) -> Response<Body> {
    call::json(&openai::models(&app))
}

async fn model(State(app): State<AppState>, Path(name): Path<String>) -> Response<Body> {
    match app.model(Some(&name)) {
        Ok(service) => call::json(&openai::model(&app, &service)),
        Err(fault) => fault.response(Schema::OpenAi, Door::V1),
    }
}

async fn openapi() -> Response<Body> {
    call::json_text(OPENAPI)
}

async fn metrics(State(app): State<AppState>) -> Response<Body> {
    let Some(exposition) = app.exposition() else {
        let fault = Fault::new(Kind::UnknownRoute, "metrics are off");
        return fault.response(Schema::OpenAi, Door::V1);
    };
    let mut text = exposition.render();
    if app.settings().vllm_metrics {
        let theirs = alias::vllm(&text);
        text += &theirs;
    }
    let mut response = Response::new(Body::from(text));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

async fn unknown_route(request: Request) -> Response<Body> {
    let message = format!("no route {} {}", request.method(), request.uri().path());
    Fault::new(Kind::UnknownRoute, message).response(schema_of(&request), Door::V1)
}

async fn wrong_method(request: Request) -> Response<Body> {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    Fault::new(Kind::Method, message).response(schema_of(&request), Door::V1)
}

fn schema_of(request: &Request) -> Schema {
    if request.uri().path().starts_with("/v1") { Schema::OpenAi } else { Schema::Lmi }
}

/// The beginning of *parse*: the body, as fields.
async fn open(
    app: AppState,
    door: Door,
    request: Request,
) -> Result<(Call, Fields), (Call, Fault)> {
    let (parts, stream) = request.into_parts();
    let received = body::receive(&app, &parts.headers, stream).await;
    let call = Call { app, door, headers: parts.headers };
    let from = Instant::now();
    let parse = || received.and_then(|received| Fields::parse(&received.bytes));
    let fields = Station::Parse.span().in_scope(parse);
    Station::Parse.record(from.elapsed());
    match fields {
        Ok(fields) => Ok((call, fields)),
        Err(fault) => Err((call, fault)),
    }
}
