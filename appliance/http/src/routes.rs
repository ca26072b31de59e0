//! All routes, in one table: path, methods, what a key must be allowed, how it is told, what answers.
//!
//! Nothing else knows a path of ours but the clients. Next: `router.rs`.

use axum::routing::MethodFilter;

use crate::fault::Schema;
use crate::scopes::KeyScope;
use Methods::{Both, Get, GetDelete, Post};
use Traffic::{Answers, Other, Polled};

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) methods: Methods,
    /// `None` is open whatever keys there are.
    pub(crate) scope: Option<KeyScope>,
    pub(crate) traffic: Traffic,
    pub(crate) handler: Handler,
}

/// Methods that a route takes; `HEAD` goes with `GET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Methods {
    Get,
    Post,
    Both,
    GetDelete,
}

/// How a route is used, and so how it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// It must be answered whatever else happens; a line each in the log would hide the others.
    Polled,
    /// Each answer costs more than its line.
    Answers,
    /// What is the same of all others is told once a second.
    Other,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    Page,
    Status,
    Ping,
    Alive,
    Models,
    Model,
    TokenizerInfo,
    Version,
    Load,
    Metrics,
    OpenApi,
    /// One that is kept.
    Response,
    ResponseItems,
    /// llama.cpp's.
    Props,
    OllamaTags,
    OllamaPs,
    OllamaVersion,
    /// A body is read first.
    Body(Task),
}

/// What a body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Invocations,
    Chat,
    Completions,
    Responses,
    Messages,
    CountTokens,
    Tokenize,
    Detokenize,
    LlamaCompletion,
    ApplyTemplate,
    OllamaChat,
    OllamaGenerate,
    OllamaShow,
}

impl Task {
    /// True if a model answers it.
    pub(crate) fn is_answered(self) -> bool {
        !matches!(self, Self::CountTokens | Self::Tokenize | Self::Detokenize)
    }

    /// The schema of its errors; that of `/invocations` is the body's.
    pub(crate) fn schema(self) -> Schema {
        match self {
            Self::Messages | Self::CountTokens => Schema::Anthropic,
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaShow => Schema::Ollama,
            _ => Schema::OpenAi,
        }
    }
}

const OPEN: Option<KeyScope> = None;
const INFER: Option<KeyScope> = Some(KeyScope::Infer);
const METRICS: Option<KeyScope> = Some(KeyScope::Metrics);
const ADMIN: Option<KeyScope> = Some(KeyScope::Admin);

const fn row(
    path: &'static str,
    methods: Methods,
    scope: Option<KeyScope>,
    traffic: Traffic,
    handler: Handler,
) -> Route {
    Route { path, methods, scope, traffic, handler }
}

/// Every route. Probes have no keys; the page and the document are the same for everybody and show
/// nothing of this process; what they ask for has its own scope.
#[rustfmt::skip]
pub(crate) const TABLE: &[Route] = &[
    row("/", Get, OPEN, Other, Handler::Page),
    row("/status", Get, ADMIN, Polled, Handler::Status),
    row("/ping", Both, OPEN, Polled, Handler::Ping),
    row("/health", Get, OPEN, Polled, Handler::Ping),
    row("/livez", Get, OPEN, Polled, Handler::Alive),
    row("/invocations", Post, INFER, Answers, Handler::Body(Task::Invocations)),
    row("/v1/chat/completions", Post, INFER, Answers, Handler::Body(Task::Chat)),
    row("/chat/completions", Post, INFER, Answers, Handler::Body(Task::Chat)),
    row("/v1/completions", Post, INFER, Answers, Handler::Body(Task::Completions)),
    row("/v1/responses", Post, INFER, Answers, Handler::Body(Task::Responses)),
    row("/responses", Post, INFER, Answers, Handler::Body(Task::Responses)),
    row("/v1/responses/{id}", GetDelete, INFER, Other, Handler::Response),
    row("/v1/responses/{id}/input_items", Get, INFER, Other, Handler::ResponseItems),
    row("/v1/messages", Post, INFER, Answers, Handler::Body(Task::Messages)),
    row("/v1/messages/count_tokens", Post, INFER, Other, Handler::Body(Task::CountTokens)),
    row("/v1/models", Get, INFER, Other, Handler::Models),
    row("/models", Get, INFER, Other, Handler::Models),
    row("/v1/models/{*model}", Get, INFER, Other, Handler::Model),
    row("/tokenize", Post, INFER, Other, Handler::Body(Task::Tokenize)),
    row("/detokenize", Post, INFER, Other, Handler::Body(Task::Detokenize)),
    row("/completion", Post, INFER, Answers, Handler::Body(Task::LlamaCompletion)),
    row("/completions", Post, INFER, Answers, Handler::Body(Task::LlamaCompletion)),
    row("/apply-template", Post, INFER, Other, Handler::Body(Task::ApplyTemplate)),
    row("/props", Get, INFER, Other, Handler::Props),
    row("/api/chat", Post, INFER, Answers, Handler::Body(Task::OllamaChat)),
    row("/api/generate", Post, INFER, Answers, Handler::Body(Task::OllamaGenerate)),
    row("/api/show", Post, INFER, Other, Handler::Body(Task::OllamaShow)),
    row("/api/tags", Get, INFER, Other, Handler::OllamaTags),
    row("/api/ps", Get, INFER, Other, Handler::OllamaPs),
    row("/api/version", Get, INFER, Other, Handler::OllamaVersion),
    row("/tokenizer_info", Get, INFER, Other, Handler::TokenizerInfo),
    row("/version", Get, INFER, Other, Handler::Version),
    row("/load", Get, METRICS, Polled, Handler::Load),
    row("/metrics", Get, METRICS, Polled, Handler::Metrics),
    row("/openapi.json", Get, OPEN, Other, Handler::OpenApi),
];

/// The route of a path as the table writes it.
pub(crate) fn find(path: &str) -> Option<&'static Route> {
    TABLE.iter().find(|route| route.path == path)
}

impl Methods {
    pub(crate) fn filter(self) -> MethodFilter {
        match self {
            Get => MethodFilter::GET,
            Post => MethodFilter::POST,
            Both => MethodFilter::GET.or(MethodFilter::POST),
            GetDelete => MethodFilter::GET.or(MethodFilter::DELETE),
        }
    }

    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Get => &["get"],
            Post => &["post"],
            Both => &["get", "post"],
            GetDelete => &["get", "delete"],
        }
    }
}
