//! All routes, in one table.
//!
//! What a schema means stands in `lmi/` and `openai/`. Next: `access.rs`.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware;
use axum::routing::{get, post};
use gimbal_engine::meters::Station;
use gimbal_engine::text_pool;
use tokio::time::Instant;

use crate::body::Received;
use crate::call::{self, Call};
use crate::fault::{Door, Fault, Kind, Schema};
use crate::fields::Fields;
use crate::peer::Peer;
use crate::state::SHOWN_MAX;
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
        .route("/livez", get(livez))
        .route("/invocations", post(invocations))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{*model}", get(model))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/tokenizer_info", get(tokenizer_info))
        .route("/version", get(version))
        .route("/load", get(load))
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

/// 200 while the process lives, whatever it does meanwhile.
async fn livez() -> Response<Body> {
    Response::new(Body::empty())
}

async fn tokenizer_info(State(app): State<AppState>) -> Response<Body> {
    match app.model(None, Door::V1) {
        Ok(service) => call::json(&openai::tokenizer_info(&service)),
        Err(fault) => fault.response(Schema::OpenAi, Door::V1),
    }
}

async fn version() -> Response<Body> {
    call::json(&openai::version())
}

async fn load(State(app): State<AppState>) -> Response<Body> {
    call::json(&openai::load(&app))
}

async fn invocations(State(app): State<AppState>, request: Request) -> Response<Body> {
    take(app, Door::Invocations, request, Route::Invocations).await
}

async fn chat(State(app): State<AppState>, request: Request) -> Response<Body> {
    take(app, Door::V1, request, Route::Chat).await
}

async fn completions(State(app): State<AppState>, request: Request) -> Response<Body> {
    take(app, Door::V1, request, Route::Completions).await
}

async fn tokenize(State(app): State<AppState>, request: Request) -> Response<Body> {
    take(app, Door::V1, request, Route::Tokenize).await
}

async fn detokenize(State(app): State<AppState>, request: Request) -> Response<Body> {
    take(app, Door::V1, request, Route::Detokenize).await
}

async fn models(State(app): State<AppState>) -> Response<Body> {
    call::json(&openai::models(&app))
}

async fn model(
    State(app): State<AppState>,
    name: Result<Path<String>, PathRejection>,
) -> Response<Body> {
    // A name that is not even UTF-8 is none of ours.
    let name = name.map_or_else(|_| "?".to_owned(), |Path(name)| name);
    match app.model_named(&name) {
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

/// What was asked for, as far as an error repeats it.
fn shown(request: &Request) -> String {
    let shown = format!("{} {}", request.method(), request.uri().path());
    shown.chars().take(SHOWN_MAX).collect()
}

async fn unknown_route(request: Request) -> Response<Body> {
    let message = format!("no route {}", shown(&request));
    access::early(request, &Fault::new(Kind::UnknownRoute, message)).await
}

async fn wrong_method(request: Request) -> Response<Body> {
    let message = format!("this route has no such method: {}", shown(&request));
    access::early(request, &Fault::new(Kind::Method, message)).await
}

/// What a body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Invocations,
    Chat,
    Completions,
    Tokenize,
    Detokenize,
}

/// Reads the body here and does the rest on the threads for work, for as long as the client is
/// there.
async fn take(app: AppState, door: Door, request: Request, route: Route) -> Response<Body> {
    let peer = Peer::of(&request);
    let (parts, stream) = request.into_parts();
    let share = app.bodies().share(peer.address);
    let received = body::receive(&app, share, &parts.headers, stream).await;
    let (call_app, call_peer) = (app.clone(), peer.clone());
    let task = app.work().spawn(async move {
        let mut call =
            Call { app: call_app, door, headers: parts.headers, peer: call_peer, share: None };
        let (schema, answer) = match open(&mut call, received).await {
            Ok(fields) => answer(&mut call, fields, route).await,
            Err(fault) if route == Route::Invocations => (call.app.lmi_schema(), Err(fault)),
            Err(fault) => (Schema::OpenAi, Err(fault)),
        };
        answer.unwrap_or_else(|fault| fault.response(schema, door))
    });
    tokio::select! {
        answer = task => answer.unwrap_or_else(|_| {
            let fault = Fault::new(Kind::Internal, "a bug ended this request");
            fault.response(Schema::OpenAi, door)
        }),
        // Nobody reads this; ending the task is what frees the seat.
        () = peer.gone() => Response::new(Body::empty()),
    }
}

/// The beginning of *parse*: the body, as fields. Large ones wait for their client's turn.
async fn open(call: &mut Call, received: Result<Received, Fault>) -> Result<Fields, Fault> {
    let received = received?;
    let (from, is_small) = (Instant::now(), received.is_small());
    let parse = move || {
        let (bytes, share) = received.open()?;
        Ok::<_, Fault>((Fields::parse(bytes)?, share))
    };
    let (fields, share) = match is_small {
        true => Station::Parse.span().in_scope(parse),
        false => text_pool::run(call.client(), parse).await?,
    }?;
    Station::Parse.record(from.elapsed());
    call.share = Some(share);
    Ok(fields)
}

/// On `/invocations` the shape of the body decides the schema.
async fn answer(
    call: &mut Call,
    fields: Fields,
    route: Route,
) -> (Schema, Result<Response<Body>, Fault>) {
    let answer = match route {
        Route::Invocations if fields.has("messages") => openai::chat(call, fields).await,
        Route::Invocations if fields.has("prompt") => openai::completions(call, fields).await,
        Route::Invocations => {
            let schema = call.app.lmi_schema();
            return (schema, lmi::invocation(call, fields).await);
        }
        Route::Chat => openai::chat(call, fields).await,
        Route::Completions => openai::completions(call, fields).await,
        Route::Tokenize => openai::tokenize(call, fields).await,
        Route::Detokenize => openai::detokenize(call, fields).await,
    };
    (Schema::OpenAi, answer)
}
