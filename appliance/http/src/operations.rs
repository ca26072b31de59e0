//! What each route is for and how it may answer, for `/openapi.json`.
//!
//! Next: `openapi.rs`.

use serde_json::{Map, Value, json};

use crate::anthropic::shapes::{Message, TokensCount};
use crate::described::Schemas;
use crate::fault::{AnthropicError, LmiError, OllamaError, OpenAiError, TgiError};
use crate::llamacpp::shapes::LlamaCompletion;
use crate::llamacpp::{Props, Templated};
use crate::lmi::shapes::LmiAnswer;
use crate::names::Scope;
use crate::ollama::shapes::{OllamaChat, OllamaText};
use crate::ollama::{OllamaModels, OllamaShown, OllamaVersion};
use crate::openai::shapes::{ChatChoice, Object, TextChoice};
use crate::openai::{Detokenized, Load, Model, Models, Tokenized, TokenizerInfo, Version};
use crate::responses::shapes::{Deleted, InputItems, ResponseObject};
use crate::routes::{Handler, Route, Task};
use crate::scopes::KeyScope;
use crate::state::Unwell;
use crate::status::Status;
use crate::{anthropic, llamacpp, lmi, ollama, openai, responses};

/// The name of an operation.
pub(crate) fn id(route: &Route) -> &'static str {
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
        Handler::Props => "props",
        Handler::OllamaTags => "ollama_tags",
        Handler::OllamaPs => "ollama_ps",
        Handler::OllamaVersion => "ollama_version",
        Handler::Body(Task::LlamaCompletion) if route.path == "/completions" => "llama_completions",
        Handler::Body(Task::LlamaCompletion) => "llama_completion",
        Handler::Body(Task::ApplyTemplate) => "apply_template",
        Handler::Body(Task::OllamaChat) => "ollama_chat",
        Handler::Body(Task::OllamaGenerate) => "ollama_generate",
        Handler::Body(Task::OllamaShow) => "ollama_show",
        Handler::Body(Task::Invocations) => "invocations",
        Handler::Body(Task::Chat) => "chat",
        Handler::Body(Task::Completions) => "completions",
        Handler::Body(Task::Responses) if route.path == "/responses" => "responses_without_version",
        Handler::Body(Task::Responses) => "responses",
        Handler::Response => "response",
        Handler::ResponseItems => "response_items",
        Handler::Body(Task::Messages) => "messages",
        Handler::Body(Task::CountTokens) => "count_tokens",
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
        Handler::Props => "What the server is, of its first model, as llama.cpp's server.",
        Handler::OllamaTags => "The models that serve, as Ollama's API.",
        Handler::OllamaPs => "The models that are loaded: all of them, as Ollama's API.",
        Handler::OllamaVersion => "The version of the binary, as Ollama's API.",
        Handler::Body(Task::LlamaCompletion) => "Continues prompts, as llama.cpp's server.",
        Handler::Body(Task::ApplyTemplate) => {
            "The prompt that a conversation has by the first model's template, as llama.cpp's server."
        }
        Handler::Body(Task::OllamaChat) => "Answers a conversation, as Ollama's API.",
        Handler::Body(Task::OllamaGenerate) => "Answers a prompt, as Ollama's API.",
        Handler::Body(Task::OllamaShow) => "One model, as Ollama's API.",
        Handler::Body(Task::Invocations) => {
            "SageMaker's route; the body's shape decides the schema: `messages` is a chat, `prompt` a \
             completion, `inputs` LMI's and TGI's. A full queue is 503."
        }
        Handler::Body(Task::Chat) => "Answers a conversation.",
        Handler::Body(Task::Completions) => "Continues prompts.",
        Handler::Body(Task::Responses) => {
            "Answers items, as OpenAI's Responses API; the newest responses are kept for later requests."
        }
        Handler::Response => "A response that is kept, and its end.",
        Handler::ResponseItems => "The items that a kept response answers, a page of them.",
        Handler::Body(Task::Messages) => "Answers a conversation, as Anthropic's API.",
        Handler::Body(Task::CountTokens) => {
            "How long the prompt of a conversation is: what an answer to it reports as \
             `input_tokens` and `cache_read_input_tokens` together."
        }
        Handler::Body(Task::Tokenize) => "Token ids of a text or a conversation.",
        Handler::Body(Task::Detokenize) => "The text of token ids.",
    }
}

/// One method of a route.
pub(crate) fn operation(schemas: &mut Schemas, route: &Route, method: &str) -> Value {
    let mut told = json!({ "operationId": id(route), "summary": summary(route.handler) });
    let off = |schemas: &mut Schemas| failed(schemas, route, "The setting turns it off.");
    let mut responses = Map::new();
    let mut answers = |status: &str, answer: Value| drop(responses.insert(status.into(), answer));
    if let Some(schema) = told_as_json(schemas, route.handler) {
        answers("200", content("application/json", &schema));
    }
    match route.handler {
        Handler::Page => {
            answers("200", content("text/html", &json!({ "type": "string" })));
            answers("404", off(schemas));
        }
        Handler::Status => answers("404", off(schemas)),
        Handler::Ping => {
            answers("200", json!({ "description": "All is well; the body is empty." }));
            answers("503", content("application/json", &schemas.of::<Unwell>("Health")));
        }
        Handler::Alive => answers("200", json!({ "description": "The body is empty." })),
        Handler::Model => {
            told["parameters"] = json!([{
                "name": "model", "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1 },
            }]);
            answers("404", failed(schemas, route, "No such model."));
            answers("503", failed(schemas, route, "Loading, draining, or out of order."));
        }
        Handler::TokenizerInfo | Handler::Props => {
            answers("503", failed(schemas, route, "Loading, draining, or out of order."));
        }
        Handler::Metrics => {
            answers("200", content("text/plain", &json!({ "type": "string" })));
            answers("404", off(schemas));
        }
        Handler::Response | Handler::ResponseItems => {
            let (parameters, answer) = kept(schemas, route.handler, method);
            told["parameters"] = parameters;
            answers("200", content("application/json", &answer));
            answers("400", failed(schemas, route, "The query is wrong."));
            answers("404", failed(schemas, route, "No such response is kept."));
        }
        Handler::Body(task) => {
            told["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": any(&bodies(schemas, task)) } },
            });
            answers("200", answered(schemas, task));
            for (status, what) in FAILURES {
                let is_queue = *status == "429";
                if !is_queue || task.is_answered() && task != Task::Invocations {
                    answers(status, failed(schemas, route, what));
                }
            }
        }
        // Told above.
        _ => {}
    }
    told["responses"] = Value::Object(responses);
    told
}

/// The one object that a route answers, where its name is all there is to say.
fn told_as_json(schemas: &mut Schemas, handler: Handler) -> Option<Value> {
    Some(match handler {
        Handler::Status => schemas.of::<Status>("Status"),
        Handler::Models => schemas.of::<Models>("Models"),
        Handler::Model => schemas.of::<Model>("Model"),
        Handler::TokenizerInfo => schemas.of::<TokenizerInfo>("TokenizerInfo"),
        Handler::Version => schemas.of::<Version>("Version"),
        Handler::Props => schemas.of::<Props<'static>>("Props"),
        Handler::OllamaTags | Handler::OllamaPs => schemas.of::<OllamaModels>("OllamaModels"),
        Handler::OllamaVersion => schemas.of::<OllamaVersion>("OllamaVersion"),
        Handler::Load => schemas.of::<Load>("Load"),
        Handler::OpenApi => json!({ "type": "object" }),
        _ => return None,
    })
}

/// What a page of items may be asked for by.
const PAGE: [(&str, &str); 2] = [
    ("limit", r#"{"type": "integer", "minimum": 1, "maximum": 100}"#),
    ("order", r#"{"type": "string", "enum": ["asc", "desc"]}"#),
];

/// What a route of kept responses is asked by, and what it answers.
fn kept(schemas: &mut Schemas, handler: Handler, method: &str) -> (Value, Value) {
    let id = json!({ "type": "string", "minLength": 1 });
    let mut parameters =
        vec![json!({ "name": "id", "in": "path", "required": true, "schema": id })];
    let answer = match (handler, method) {
        (Handler::ResponseItems, _) => {
            parameters.extend(PAGE.map(|(name, schema)| {
                let schema: Value = serde_json::from_str(schema).unwrap_or_default();
                json!({ "name": name, "in": "query", "schema": schema })
            }));
            schemas.of::<InputItems>("InputItems")
        }
        (_, "delete") => schemas.of::<Deleted<'static>>("Deleted"),
        _ => schemas.of::<ResponseObject<'static>>("Response"),
    };
    (parameters.into(), answer)
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
        s.body("ChatRequest", Scope::Chat, &openai::parts(Scope::Chat), &["messages"])
    };
    let text = |s: &mut Schemas| {
        s.body(
            "CompletionRequest",
            Scope::Completion,
            &openai::parts(Scope::Completion),
            &["prompt"],
        )
    };
    match task {
        Task::Chat => vec![chat(schemas)],
        Task::Completions => vec![text(schemas)],
        Task::Invocations => {
            let [body, _] = lmi::parts();
            let lmi = schemas.body("LmiRequest", Scope::Lmi, &body, &["inputs"]);
            vec![lmi, chat(schemas), text(schemas)]
        }
        Task::Responses => {
            let needed = ["input"];
            vec![schemas.body("ResponsesRequest", Scope::Responses, &responses::parts(), &needed)]
        }
        Task::Messages => {
            let needed = ["messages", "max_tokens"];
            vec![schemas.body("MessagesRequest", Scope::Messages, &anthropic::parts(), &needed)]
        }
        Task::CountTokens => {
            let needed = ["messages"];
            vec![schemas.body("CountTokensRequest", Scope::Messages, &anthropic::parts(), &needed)]
        }
        Task::Tokenize => tokenize_bodies(schemas),
        Task::Detokenize => {
            let parts = openai::parts(Scope::Detokenize);
            vec![schemas.body("DetokenizeRequest", Scope::Detokenize, &parts, &["tokens"])]
        }
        Task::LlamaCompletion => {
            let parts = llamacpp::parts();
            vec![schemas.body("LlamaCompletionRequest", Scope::Llama, &parts, &["prompt"])]
        }
        Task::ApplyTemplate => {
            let parts = openai::parts(Scope::Template);
            vec![schemas.body("TemplateRequest", Scope::Template, &parts, &["messages"])]
        }
        Task::OllamaChat => {
            vec![of_ollama(schemas, Scope::OllamaChat, "OllamaChatRequest", &["messages"])]
        }
        Task::OllamaGenerate => {
            vec![of_ollama(schemas, Scope::OllamaGenerate, "OllamaGenerateRequest", &[])]
        }
        Task::OllamaShow => {
            vec![of_ollama(schemas, Scope::OllamaShow, "OllamaShowRequest", &[])]
        }
    }
}

/// What `/tokenize` takes: one of three fields says what is meant.
fn tokenize_bodies(schemas: &mut Schemas) -> Vec<Value> {
    let parts = openai::parts(Scope::Tokenize);
    let kinds = [
        ("TokenizeText", "prompt", ["messages", "content"]),
        ("TokenizeChat", "messages", ["prompt", "content"]),
        ("TokenizeContent", "content", ["messages", "prompt"]),
    ];
    let kinds = kinds.map(|(name, needed, others)| {
        let body = schemas.body(name, Scope::Tokenize, &parts, &[needed]);
        let properties = schemas.0.get_mut(name).and_then(|b| b["properties"].as_object_mut());
        if let Some(properties) = properties {
            others.iter().for_each(|other| drop(properties.remove(*other)));
        }
        body
    });
    kinds.to_vec()
}

/// A body of Ollama's.
fn of_ollama(schemas: &mut Schemas, scope: Scope, name: &str, needed: &[&str]) -> Value {
    schemas.body(name, scope, &ollama::parts(scope), needed)
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
        Task::Responses => vec![schemas.of::<ResponseObject<'static>>("Response")],
        Task::Messages => vec![schemas.of::<Message<'static>>("Message")],
        Task::CountTokens => vec![schemas.of::<TokensCount>("TokensCount")],
        Task::Tokenize => vec![schemas.of::<Tokenized>("Tokenized")],
        Task::Detokenize => vec![schemas.of::<Detokenized<'static>>("Detokenized")],
        Task::LlamaCompletion => {
            let one = schemas.of::<LlamaCompletion<'static>>("LlamaCompletion");
            let many = json!({ "type": "array", "items": one });
            vec![one, many]
        }
        Task::ApplyTemplate => vec![schemas.of::<Templated>("Templated")],
        Task::OllamaChat => vec![schemas.of::<OllamaChat<'static>>("OllamaChat")],
        Task::OllamaGenerate => vec![schemas.of::<OllamaText<'static>>("OllamaText")],
        Task::OllamaShow => vec![schemas.of::<OllamaShown>("OllamaShown")],
    };
    let mut told = content("application/json", &any(&answers));
    if task.is_answered() {
        let event = json!({
            "type": "object", "required": ["data"], "properties": { "data": { "type": "string" } },
            "description": "Chunks; OpenAI's end with [DONE]. Responses and Messages are events with names.",
        });
        told["content"]["text/event-stream"] = json!({ "schema": event });
    }
    if matches!(task, Task::OllamaChat | Task::OllamaGenerate) {
        let line = "A JSON object for each piece; the last has `done: true`.";
        told["content"]["application/x-ndjson"] = json!({ "schema": { "description": line } });
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
    let errors = match route.handler {
        Handler::Body(Task::Invocations) => vec![
            schemas.of::<LmiError<'static>>("LmiError"),
            schemas.of::<TgiError<'static>>("TgiError"),
            schemas.of::<OpenAiError<'static>>("OpenAiError"),
        ],
        Handler::Body(Task::OllamaChat | Task::OllamaGenerate | Task::OllamaShow) => {
            vec![schemas.of::<OllamaError<'static>>("OllamaError")]
        }
        Handler::Body(Task::Messages | Task::CountTokens) => {
            vec![schemas.of::<AnthropicError<'static>>("AnthropicError")]
        }
        _ => vec![schemas.of::<OpenAiError<'static>>("OpenAiError")],
    };
    let mut told = content("application/json", &any(&errors));
    told["description"] = what.into();
    told
}

/// What a server with keys asks of a route's clients.
pub(crate) fn guard(schemas: &mut Schemas, told: &mut Value, route: &Route, scope: KeyScope) {
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
