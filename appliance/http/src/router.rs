//! What answers each route of the table, after the key was looked at.
//!
//! What a schema means stands in `lmi/`, `openai/`, `anthropic/` and `responses/`. Next: `access.rs`.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::middleware;
use axum::routing::on;
use gimbal_engine::meters::Station;
use gimbal_engine::text_pool;
use tokio::time::Instant;

use crate::body::Received;
use crate::call::{self, Call};
use crate::fault::{Door, Fault, Kind, Schema};
use crate::fields::Fields;
use crate::peer::Peer;
use crate::routes::{self, Handler, Route, Task};
use crate::state::SHOWN_MAX;
use crate::{
    AppState, access, alias, anthropic, body, dashboard, llamacpp, lmi, ollama, openai, openapi,
    responses, status,
};

/// All routes of the table.
pub(crate) fn router(app: AppState) -> Router {
    let mut router = Router::new();
    for route in routes::TABLE {
        let handler =
            move |State(app): State<AppState>, request: Request| answer(app, route, request);
        router = router.route(route.path, on(route.methods.filter(), handler));
    }
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.clone(), access::observe))
        .with_state(app)
}

/// Answers a request that may: its key is looked at before its body is read.
async fn answer(app: AppState, route: &Route, request: Request) -> Response<Body> {
    let checked = match route.scope {
        Some(scope) => app.settings().keys.check(request.headers(), scope),
        None => Ok(()),
    };
    if let Err(fault) = checked {
        let schema = match route.handler {
            Handler::Body(Task::Invocations) => app.lmi_schema(),
            Handler::Body(task) => task.schema(),
            _ => Schema::OpenAi,
        };
        return access::early(request, &fault, schema).await;
    }
    match route.handler {
        Handler::Page => page(&app),
        Handler::Status => status(&app),
        Handler::Ping => ping(&app),
        // While the process lives, whatever it does meanwhile.
        Handler::Alive => Response::new(Body::empty()),
        Handler::Models => call::json(&openai::models(&app)),
        Handler::Model => model(&app, request).await,
        Handler::TokenizerInfo => tokenizer_info(&app),
        Handler::Version => call::json(&openai::version()),
        Handler::Props => props(&app),
        Handler::OllamaTags => call::json(&ollama::tags(&app)),
        Handler::OllamaPs => call::json(&ollama::ps(&app)),
        Handler::OllamaVersion => call::json(&ollama::version()),
        Handler::Load => call::json(&openai::load(&app)),
        Handler::Metrics => metrics(&app),
        Handler::Response | Handler::ResponseItems => kept(app, route.handler, request).await,
        Handler::OpenApi => call::json_text(openapi::bytes(app.settings().keys.count().is_some())),
        Handler::Body(task) => take(app, request, task).await,
    }
}

fn page(app: &AppState) -> Response<Body> {
    if app.settings().dashboard { dashboard::page() } else { dashboard_off() }
}

fn status(app: &AppState) -> Response<Body> {
    if app.settings().dashboard { status::response(app) } else { dashboard_off() }
}

fn dashboard_off() -> Response<Body> {
    let message = "the dashboard and /status are off (dashboard: false)";
    Fault::new(Kind::UnknownRoute, message).response(Schema::OpenAi, Door::V1)
}

/// 200 and empty when all is well; otherwise 503 and why.
fn ping(app: &AppState) -> Response<Body> {
    let Some(why) = app.unwell() else { return Response::new(Body::empty()) };
    let mut response = call::json(&why);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

fn tokenizer_info(app: &AppState) -> Response<Body> {
    match app.model(None, Door::V1) {
        Ok(service) => call::json(&openai::tokenizer_info(&service)),
        Err(fault) => fault.response(Schema::OpenAi, Door::V1),
    }
}

fn props(app: &AppState) -> Response<Body> {
    match app.model(None, Door::V1) {
        Ok(service) => llamacpp::props(&service),
        Err(fault) => fault.response(Schema::OpenAi, Door::V1),
    }
}

async fn model(app: &AppState, request: Request) -> Response<Body> {
    let (mut parts, _) = request.into_parts();
    let name = Path::<String>::from_request_parts(&mut parts, &()).await;
    // A name that is not even UTF-8 is none of ours.
    let name = name.map_or_else(|_| "?".to_owned(), |Path(name)| name);
    match app.model_named(&name) {
        Ok(service) => call::json(&openai::model(app, &service)),
        Err(fault) => fault.response(Schema::OpenAi, Door::V1),
    }
}

/// What is kept of a response, or its end; on the threads for work, for some are long.
async fn kept(app: AppState, handler: Handler, request: Request) -> Response<Body> {
    let (peer, door) = (Peer::of(&request), Door::V1);
    let (mut parts, _) = request.into_parts();
    let id = Path::<String>::from_request_parts(&mut parts, &()).await;
    let id = id.map_or_else(|_| "?".to_owned(), |Path(id)| id);
    let (uri, is_end) = (parts.uri, parts.method == Method::DELETE);
    let work = app.clone();
    let call = Call { app, door, headers: parts.headers, peer, share: None };
    let work = work.work().spawn(async move {
        let answer = match handler {
            Handler::ResponseItems => responses::items(&call, &uri, &id),
            _ if is_end => responses::delete(&call, &id),
            _ => responses::response(&call, &uri, &id),
        };
        answer.unwrap_or_else(|fault| fault.response(Schema::OpenAi, door))
    });
    work.await.unwrap_or_else(|_| {
        Fault::new(Kind::Internal, "a bug ended this request").response(Schema::OpenAi, door)
    })
}

fn metrics(app: &AppState) -> Response<Body> {
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
    let schema = access::schema_of(&request);
    access::early(request, &Fault::new(Kind::UnknownRoute, message), schema).await
}

async fn wrong_method(request: Request) -> Response<Body> {
    let message = format!("this route has no such method: {}", shown(&request));
    let schema = access::schema_of(&request);
    access::early(request, &Fault::new(Kind::Method, message), schema).await
}

/// Reads the body here and does the rest on the threads for work, for as long as the client is
/// there.
async fn take(app: AppState, request: Request, task: Task) -> Response<Body> {
    let door = if task == Task::Invocations { Door::Invocations } else { Door::V1 };
    let peer = Peer::of(&request);
    let (parts, stream) = request.into_parts();
    let share = app.bodies().share(peer.address);
    let received = body::receive(&app, share, &parts.headers, stream).await;
    let (call_app, call_peer) = (app.clone(), peer.clone());
    let work = app.work().spawn(async move {
        let mut call =
            Call { app: call_app, door, headers: parts.headers, peer: call_peer, share: None };
        let (schema, answer) = match open(&mut call, received).await {
            Ok(fields) => perform(&mut call, fields, task).await,
            Err(fault) if task == Task::Invocations => (call.app.lmi_schema(), Err(fault)),
            Err(fault) => (task.schema(), Err(fault)),
        };
        let told = |fault: Fault| fault.of_request(access::id_of(&call.headers));
        answer.unwrap_or_else(|fault| told(fault).response(schema, door))
    });
    tokio::select! {
        answer = work => answer.unwrap_or_else(|_| {
            let fault = Fault::new(Kind::Internal, "a bug ended this request");
            fault.response(task.schema(), door)
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
async fn perform(
    call: &mut Call,
    fields: Fields,
    task: Task,
) -> (Schema, Result<Response<Body>, Fault>) {
    let answer = match task {
        Task::Invocations if fields.has("messages") => openai::chat(call, fields).await,
        Task::Invocations if fields.has("prompt") => openai::completions(call, fields).await,
        Task::Invocations => {
            let schema = call.app.lmi_schema();
            return (schema, lmi::invocation(call, fields).await);
        }
        Task::Chat => openai::chat(call, fields).await,
        Task::Completions => openai::completions(call, fields).await,
        Task::Responses => responses::responses(call, fields).await,
        Task::Messages => anthropic::messages(call, fields).await,
        Task::CountTokens => anthropic::count_tokens(call, fields).await,
        Task::Tokenize => openai::tokenize(call, fields).await,
        Task::Detokenize => openai::detokenize(call, fields).await,
        Task::LlamaCompletion => llamacpp::completion(call, fields).await,
        Task::ApplyTemplate => llamacpp::apply_template(call, fields).await,
        Task::OllamaChat => ollama::chat(call, fields).await,
        Task::OllamaGenerate => ollama::generate(call, fields).await,
        Task::OllamaShow => ollama::show(call, fields),
    };
    (task.schema(), answer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::keys::tests::{Temporary, line};
    use crate::scopes::KeyScope;
    use crate::{HttpSettings, Keys};

    /// Every route of the table, for every kind of key: a wrong or missing one is 401, one that may
    /// not is 403, and no other is either.
    #[tokio::test]
    async fn every_route_asks_for_its_scope() {
        let names = ["infer", "metrics", "admin"];
        let lines = names.map(|name| line(name, name, name)).concat();
        let file = Temporary::new("routes", &lines);
        let keys = Keys::open("all", Some(&file.0)).expect("keys");
        let app = AppState::new(HttpSettings { keys, ..HttpSettings::default() }, None);
        let router = TowerToHyperService::new(router(app));
        for route in routes::TABLE {
            for (key, may) in [
                (None, &[][..]),
                (Some("wrong"), &[]),
                (Some("infer"), &[KeyScope::Infer]),
                (Some("metrics"), &[KeyScope::Metrics]),
                (Some("admin"), &[KeyScope::Admin, KeyScope::Metrics]),
                (Some("all"), &[KeyScope::Admin, KeyScope::Metrics, KeyScope::Infer]),
            ] {
                for method in route.methods.names() {
                    let path = route.path.replace("{*model}", "a/b").replace("{id}", "a");
                    let request = Request::builder().uri(path).header("host", "a");
                    let request = request.method(method.to_uppercase().as_str());
                    let request = match key {
                        Some(key) => request.header("authorization", format!("Bearer {key}")),
                        None => request,
                    };
                    let request = request.body(Body::from("{")).expect("a request");
                    let status = router.call(request).await.expect("an answer").status().as_u16();
                    let expect = match (route.scope, key) {
                        (None, _) => None,
                        (Some(_), None | Some("wrong")) => Some(401),
                        (Some(scope), _) => (!may.contains(&scope)).then_some(403),
                    };
                    let found = [401, 403].contains(&status).then_some(status);
                    assert_eq!(found, expect, "{method} {} with {key:?}: {status}", route.path);
                }
            }
        }
    }

    /// What the table says has an effect is what a struct reads, in every scope.
    #[test]
    fn every_field_that_is_done_has_a_member() {
        use crate::names::{self, Scope, Verdict};

        let [lmi, parameters] = lmi::members();
        let openai = [
            Scope::Chat,
            Scope::Completion,
            Scope::Tokenize,
            Scope::Detokenize,
            Scope::StreamOptions,
            Scope::Template,
        ];
        let openai = openai.map(|scope| (scope, openai::members(scope)));
        let others = [
            (Scope::Lmi, lmi),
            (Scope::LmiParameters, parameters),
            (Scope::Messages, anthropic::members()),
            (Scope::Llama, llamacpp::members()),
            (Scope::Responses, responses::members()),
        ];
        let ollama =
            [Scope::OllamaChat, Scope::OllamaGenerate, Scope::OllamaOptions, Scope::OllamaShow];
        let ollama = ollama.map(|scope| (scope, ollama::members(scope)));
        let all = openai.into_iter().chain(others).chain(ollama);
        for (scope, mut members) in all {
            let is_done = |name: &&str| names::verdict(name, scope) == Verdict::Done;
            let done: Vec<&str> = names::TABLE.iter().map(|row| row.name).filter(is_done).collect();
            members.sort_unstable();
            assert_eq!(members, done, "{scope:?}");
        }
    }

    #[test]
    fn the_document_has_the_routes_of_the_table() {
        let document = openapi::document(false);
        let paths = document["paths"].as_object().expect("paths");
        let told = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().into_iter().flat_map(|item| item.keys());
            methods.map(move |method| format!("{method} {path}"))
        });
        let routed = routes::TABLE.iter().flat_map(|route| {
            let path = route.path.replace("{*", "{");
            route.methods.names().iter().map(move |method| format!("{method} {path}"))
        });
        assert_eq!(told.collect::<BTreeSet<_>>(), routed.collect());
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
