//! `/openapi.json`: every route of the table, with the structs that are read and written.
//!
//! Made once. Schemas are derived from the structs, what a field is for stands in `names.rs`, so here is
//! only what a route is for and how it may answer. Next: `router.rs`.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::fault::{LmiError, OpenAiError, TgiError};
use crate::lmi::shapes::LmiAnswer;
use crate::names::{self, Scope};
use crate::openai::shapes::{ChatChoice, Object, TextChoice};
use crate::openai::{Detokenized, Load, Model, Models, Tokenized, TokenizerInfo, Version};
use crate::routes::{self, Handler, Route, Task};
use crate::scopes::KeyScope;
use crate::state::Unwell;
use crate::status::Status;
use crate::{call, lmi, openai};

const ABOUT: &str = "One API for models on any hardware. Unknown body fields are ignored and named \
    in the header x-gimbal-ignored. null is as good as absent. A wrong method is 405, an unknown \
    route 404, both with an error body.";

static OPEN: LazyLock<Bytes> = LazyLock::new(|| call::json_bytes(&document(false)));
static KEYED: LazyLock<Bytes> = LazyLock::new(|| call::json_bytes(&document(true)));

/// The document of a server with keys, or without.
pub(crate) fn bytes(has_keys: bool) -> Bytes {
    if has_keys { KEYED.clone() } else { OPEN.clone() }
}

/// The document.
pub(crate) fn document(has_keys: bool) -> Value {
    let mut schemas = Schemas::default();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::TABLE {
        let mut item = Map::new();
        for method in route.methods.names() {
            let mut told = operation(&mut schemas, route);
            if *method == "post" && route.methods != routes::Methods::Post {
                told["operationId"] = format!("{}_post", id(route)).into();
            }
            if let (Some(scope), true) = (route.scope, has_keys) {
                guard(&mut schemas, &mut told, route, scope);
            }
            item.insert((*method).to_owned(), told);
        }
        paths.insert(route.path.replace("{*", "{"), Value::Object(item));
    }
    let mut components = json!({ "schemas": schemas.0 });
    if has_keys {
        components["securitySchemes"] = json!({ "key": { "type": "http", "scheme": "bearer" } });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Gimbal",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": ABOUT,
        },
        "paths": paths,
        "components": components,
    })
}

/// Schemas by name.
#[derive(Default)]
struct Schemas(Map<String, Value>);

impl Schemas {
    /// A reference to a type, which is described together with what it is made of.
    fn of<T: ToSchema>(&mut self, name: &str) -> Value {
        let mut parts: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut parts);
        for (part, schema) in parts {
            self.0.entry(part).or_insert_with(|| value(&schema));
        }
        let own = value(&T::schema());
        let known = self.0.entry(name.to_owned()).or_insert_with(|| own.clone());
        debug_assert_eq!(*known, own, "{name} is two schemas");
        reference(name)
    }

    /// A reference to a body.
    fn body(&mut self, name: &str, scope: Scope, parts: &[RefOr<Schema>], needed: &str) -> Value {
        let (mut properties, mut extra) = (Map::new(), Map::new());
        for part in parts {
            if let Some(Value::Object(members)) = value(part).get_mut("properties") {
                properties.append(members);
            }
        }
        if scope == Scope::Lmi {
            let [_, parameters] = lmi::parts();
            extra.insert("parameters".into(), object(Scope::LmiParameters, &parameters));
        }
        if matches!(scope, Scope::Chat | Scope::Completion) {
            let options = openai::stream_options();
            extra.insert("stream_options".into(), object(Scope::StreamOptions, &options));
        }
        properties.append(&mut extra);
        describe(scope, &mut properties);
        if let Some(field) = properties.get_mut(needed) {
            // What must be there is not null.
            if let Some(kinds) = field.get("type").and_then(Value::as_array).cloned() {
                field["type"] = kinds.first().cloned().unwrap_or_default();
            }
        }
        let body = json!({ "type": "object", "required": [needed], "properties": properties });
        self.0.insert(name.to_owned(), body);
        reference(name)
    }
}

/// A nested object of fields, or null.
fn object(scope: Scope, parts: &[RefOr<Schema>]) -> Value {
    let mut properties = Map::new();
    for part in parts {
        if let Some(Value::Object(members)) = value(part).get_mut("properties") {
            properties.append(members);
        }
    }
    describe(scope, &mut properties);
    json!({ "type": ["object", "null"], "properties": properties })
}

/// What fields are for; those that other fields replace here are left out.
fn describe(scope: Scope, properties: &mut Map<String, Value>) {
    for (name, schema) in properties.iter_mut() {
        debug_assert_eq!(names::verdict(name, scope), names::Verdict::Done, "{name}");
        schema["description"] = names::doc(name).into();
    }
}

fn value(schema: &RefOr<Schema>) -> Value {
    let mut value = serde_json::to_value(schema).expect("names of members are texts");
    loosen(&mut value);
    value
}

/// Of what serde tells apart by looking, several may fit: an empty list is one of ids and of pieces.
fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(choices) = members.remove("oneOf") {
                members.insert("anyOf".into(), choices);
            }
            members.values_mut().for_each(loosen);
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        _ => {}
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The name of an operation.
fn id(route: &Route) -> &'static str {
    match route.handler {
        Handler::Page => "dashboard",
        Handler::Status => "status",
        Handler::Ping if route.path == "/health" => "health",
        Handler::Ping => "ping",
        Handler::Alive => "livez",
        // llama.cpp's names for them.
        Handler::Models if route.path == "/models" => "models_without_version",
        Handler::Body(Task::Chat) if route.path == "/chat/completions" => "chat_without_version",
        Handler::Models => "models",
        Handler::Model => "model",
        Handler::TokenizerInfo => "tokenizer_info",
        Handler::Version => "version",
        Handler::Load => "load",
        Handler::Metrics => "metrics",
        Handler::OpenApi => "openapi",
        Handler::Body(Task::Invocations) => "invocations",
        Handler::Body(Task::Chat) => "chat",
        Handler::Body(Task::Completions) => "completions",
        Handler::Body(Task::Tokenize) => "tokenize",
        Handler::Body(Task::Detokenize) => "detokenize",
    }
}

/// What a route is for.
fn summary(handler: Handler) -> &'static str {
    match handler {
        Handler::Page => {
            "A page for people: what the server does now. `dashboard: false` turns it off."
        }
        Handler::Status => "Health, boot, names and limits, how devices are, the newest refusals.",
        Handler::Ping => "Health: 200 once the model has warmed up.",
        Handler::Alive => "Whether the process lives, also while it loads or drains.",
        Handler::Models => "The models that serve.",
        Handler::Model => "One model.",
        Handler::TokenizerInfo => {
            "What a client needs to write prompts itself, of the first model."
        }
        Handler::Version => "The version of the binary.",
        Handler::Load => "How many requests are inside.",
        Handler::Metrics => "Prometheus metrics.",
        Handler::OpenApi => "This document.",
        Handler::Body(Task::Invocations) => {
            "SageMaker's route; the body's shape decides the schema: `messages` is a chat, `prompt` a \
             completion, `inputs` LMI's and TGI's. A full queue is 503."
        }
        Handler::Body(Task::Chat) => "Answers a conversation.",
        Handler::Body(Task::Completions) => "Continues prompts.",
        Handler::Body(Task::Tokenize) => "Token ids of a text or a conversation.",
        Handler::Body(Task::Detokenize) => "The text of token ids.",
    }
}

/// One method of a route.
fn operation(schemas: &mut Schemas, route: &Route) -> Value {
    let mut told = json!({ "operationId": id(route), "summary": summary(route.handler) });
    let off = |schemas: &mut Schemas| failed(schemas, route, "The setting turns it off.");
    let mut responses = Map::new();
    let mut answers = |status: &str, answer: Value| drop(responses.insert(status.into(), answer));
    match route.handler {
        Handler::Page => {
            answers("200", content("text/html", &json!({ "type": "string" })));
            answers("404", off(schemas));
        }
        Handler::Status => {
            answers("200", content("application/json", &schemas.of::<Status>("Status")));
            answers("404", off(schemas));
        }
        Handler::Ping => {
            answers("200", json!({ "description": "All is well; the body is empty." }));
            answers("503", content("application/json", &schemas.of::<Unwell>("Health")));
        }
        Handler::Alive => answers("200", json!({ "description": "The body is empty." })),
        Handler::Models => {
            answers("200", content("application/json", &schemas.of::<Models>("Models")));
        }
        Handler::Model => {
            told["parameters"] = json!([{
                "name": "model", "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1 },
            }]);
            answers("200", content("application/json", &schemas.of::<Model>("Model")));
            answers("404", failed(schemas, route, "No such model."));
            answers("503", failed(schemas, route, "Loading, draining, or out of order."));
        }
        Handler::TokenizerInfo => {
            let info = schemas.of::<TokenizerInfo>("TokenizerInfo");
            answers("200", content("application/json", &info));
            answers("503", failed(schemas, route, "Loading, draining, or out of order."));
        }
        Handler::Version => {
            answers("200", content("application/json", &schemas.of::<Version>("Version")));
        }
        Handler::Load => answers("200", content("application/json", &schemas.of::<Load>("Load"))),
        Handler::Metrics => {
            answers("200", content("text/plain", &json!({ "type": "string" })));
            answers("404", off(schemas));
        }
        Handler::OpenApi => {
            answers("200", content("application/json", &json!({ "type": "object" })));
        }
        Handler::Body(task) => {
            told["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": any(&bodies(schemas, task)) } },
            });
            answers("200", answered(schemas, task));
            for (status, what) in FAILURES {
                let is_queue = *status == "429";
                if !is_queue || matches!(task, Task::Chat | Task::Completions) {
                    answers(status, failed(schemas, route, what));
                }
            }
        }
    }
    told["responses"] = Value::Object(responses);
    told
}

/// How every body may fail.
const FAILURES: &[(&str, &str)] = &[
    ("400", "The body is wrong; the message names the field, the limit and the remedy."),
    ("404", "No such model."),
    ("408", "The body came too slowly, or the time is over."),
    ("413", "The body is larger than max_request_size."),
    ("415", "The body is packed as nobody here can unpack it."),
    ("422", "The body is wrong, where tgi_compat is set."),
    ("429", "The queue is full, or the deadline cannot be met; the body has the numbers."),
    ("500", "This request failed."),
    ("503", "Loading, draining, or out of order."),
];

/// Bodies that a task takes.
fn bodies(schemas: &mut Schemas, task: Task) -> Vec<Value> {
    let chat = |s: &mut Schemas| {
        s.body("ChatRequest", Scope::Chat, &openai::parts(Scope::Chat), "messages")
    };
    let text = |s: &mut Schemas| {
        s.body("CompletionRequest", Scope::Completion, &openai::parts(Scope::Completion), "prompt")
    };
    match task {
        Task::Chat => vec![chat(schemas)],
        Task::Completions => vec![text(schemas)],
        Task::Invocations => {
            let [body, _] = lmi::parts();
            let lmi = schemas.body("LmiRequest", Scope::Lmi, &body, "inputs");
            vec![lmi, chat(schemas), text(schemas)]
        }
        Task::Tokenize => {
            let parts = openai::parts(Scope::Tokenize);
            let kinds = [
                ("TokenizeText", "prompt", ["messages", "content"]),
                ("TokenizeChat", "messages", ["prompt", "content"]),
                ("TokenizeContent", "content", ["messages", "prompt"]),
            ];
            let kinds = kinds.map(|(name, needed, others)| {
                let body = schemas.body(name, Scope::Tokenize, &parts, needed);
                let properties =
                    schemas.0.get_mut(name).and_then(|b| b["properties"].as_object_mut());
                if let Some(properties) = properties {
                    others.iter().for_each(|other| drop(properties.remove(*other)));
                }
                body
            });
            kinds.to_vec()
        }
        Task::Detokenize => {
            let parts = openai::parts(Scope::Detokenize);
            vec![schemas.body("DetokenizeRequest", Scope::Detokenize, &parts, "tokens")]
        }
    }
}

/// What a task answers.
fn answered(schemas: &mut Schemas, task: Task) -> Value {
    // What a generic struct is made of is described, but for what it is generic over.
    let chat = |s: &mut Schemas| {
        s.of::<ChatChoice<'static>>("ChatChoice");
        s.of::<Object<'static, ChatChoice<'static>>>("ChatCompletion")
    };
    let text = |s: &mut Schemas| {
        s.of::<TextChoice>("TextChoice");
        s.of::<Object<'static, TextChoice>>("TextCompletion")
    };
    let answers = match task {
        Task::Chat => vec![chat(schemas)],
        Task::Completions => vec![text(schemas)],
        Task::Invocations => {
            let lmi = schemas.of::<LmiAnswer<'static>>("LmiAnswer");
            let many = json!({ "type": "array", "items": lmi });
            vec![lmi, many, chat(schemas), text(schemas)]
        }
        Task::Tokenize => vec![schemas.of::<Tokenized>("Tokenized")],
        Task::Detokenize => vec![schemas.of::<Detokenized>("Detokenized")],
    };
    let mut told = content("application/json", &any(&answers));
    if matches!(task, Task::Chat | Task::Completions | Task::Invocations) {
        let event = json!({
            "type": "object", "required": ["data"], "properties": { "data": { "type": "string" } },
            "description": "Chunks; OpenAI's end with [DONE].",
        });
        told["content"]["text/event-stream"] = json!({ "schema": event });
    }
    if task == Task::Invocations {
        let line = "A JSON object for each token; the last has the whole text.";
        told["content"]["application/jsonlines"] = json!({ "schema": { "description": line } });
    }
    let text = json!({ "type": "string" });
    told["headers"] = json!({
        "x-request-id": { "description": "The request's own id, or a new one.", "schema": text },
        "x-gimbal-ignored": { "description": "Body fields that had no effect.", "schema": text },
    });
    told
}

/// An answer that is an error.
fn failed(schemas: &mut Schemas, route: &Route, what: &str) -> Value {
    let openai = schemas.of::<OpenAiError<'static>>("OpenAiError");
    let errors = match route.handler {
        Handler::Body(Task::Invocations) => vec![
            schemas.of::<LmiError<'static>>("LmiError"),
            schemas.of::<TgiError<'static>>("TgiError"),
            openai,
        ],
        _ => vec![openai],
    };
    let mut told = content("application/json", &any(&errors));
    told["description"] = what.into();
    told
}

/// What a server with keys asks of a route's clients.
fn guard(schemas: &mut Schemas, told: &mut Value, route: &Route, scope: KeyScope) {
    told["security"] = json!([{ "key": [scope.name()] }]);
    for (status, what) in
        [("401", "No API key that is known."), ("403", "A key without the scope.")]
    {
        told["responses"][status] = failed(schemas, route, what);
    }
}

fn content(media_type: &str, schema: &Value) -> Value {
    json!({ "description": "The answer.", "content": { media_type: { "schema": schema } } })
}

fn any(schemas: &[Value]) -> Value {
    match schemas {
        [only] => only.clone(),
        _ => json!({ "anyOf": schemas }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                let reference = map.get("$ref").and_then(Value::as_str);
                found.extend(reference.map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        for has_keys in [false, true] {
            let document = document(has_keys);
            let mut found = Vec::new();
            references(&document, &mut found);
            for reference in &found {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            let schemas = document["components"]["schemas"].as_object().expect("schemas");
            for name in schemas.keys() {
                let reference = format!("#/components/schemas/{name}");
                assert!(found.contains(&reference), "{name} is used nowhere");
            }
            let chat = &document["paths"]["/v1/chat/completions"]["post"];
            let is_guarded = [&chat["security"], &chat["responses"]["401"]].map(|v| !v.is_null());
            assert_eq!(is_guarded, [has_keys; 2]);
            assert!(document["paths"]["/ping"]["get"]["security"].is_null());
        }
    }

    /// What is done stands in the document, with the words of the table.
    #[test]
    fn every_field_that_is_done_is_described() {
        let document = document(false);
        let schemas = &document["components"]["schemas"];
        let parameters = &schemas["LmiRequest"]["properties"]["parameters"];
        let bodies = [
            (Scope::Chat, &schemas["ChatRequest"]),
            (Scope::Completion, &schemas["CompletionRequest"]),
            (Scope::Lmi, &schemas["LmiRequest"]),
            (Scope::LmiParameters, parameters),
            (Scope::Detokenize, &schemas["DetokenizeRequest"]),
            (Scope::StreamOptions, &schemas["ChatRequest"]["properties"]["stream_options"]),
        ];
        for (scope, body) in bodies {
            let is_done = |name: &&str| names::verdict(name, scope) == names::Verdict::Done;
            for name in names::TABLE.iter().map(|row| row.name).filter(is_done) {
                let told = &body["properties"][name]["description"];
                assert_eq!(told, names::doc(name), "{scope:?} {name}");
            }
        }
    }
}
