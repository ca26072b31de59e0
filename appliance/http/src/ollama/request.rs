//! A body of Ollama's, as the chat that it asks for.
//!
//! Next: `options.rs`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{GenerateRequest, Prompt, Service, Wanted};
use gimbal_text::GrammarSource;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::answer::{Answer, Form};
use super::history;
use super::options::Options;
use crate::call::{self, Call, tell_ignored};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::framing::Framing;
use crate::generations::Generations;
use crate::members::part;
use crate::names::Scope;
use crate::openai::{Asked, Blocks, Conversation, Running, ToolFields, has_variable, reasoning};
use crate::schemas;
use crate::stream;
use crate::structured;
use crate::typed::{Flag, Tree};

/// What both bodies say.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Common {
    #[schema(schema_with = schemas::text)]
    model: Option<String>,
    #[schema(schema_with = schemas::json_or_schema)]
    format: Option<Tree>,
    #[schema(schema_with = schemas::flag_or_effort)]
    think: Option<Tree>,
    #[schema(schema_with = schemas::flag)]
    stream: Option<Flag>,
}

/// What a body of `/api/chat` says beside.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ChatFields {
    #[schema(schema_with = schemas::ollama_turns)]
    messages: Option<Tree>,
    #[schema(schema_with = schemas::tools)]
    tools: Option<Tree>,
}

/// What a body of `/api/generate` says beside.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct GenerateFields {
    #[schema(schema_with = schemas::text)]
    prompt: Option<String>,
    #[schema(schema_with = schemas::text)]
    system: Option<String>,
    #[schema(schema_with = schemas::flag)]
    raw: Option<Flag>,
}

/// Answers a conversation; one without messages only asks for the model.
pub(crate) async fn chat(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::OllamaChat)?;
    let mut begun = Begun::read(call, &mut fields, Form::Chat)?;
    let own: ChatFields = part(&mut fields)?;
    let Some(Tree { value, bytes }) = own.messages else {
        return Err(Fault::field("messages", "is missing"));
    };
    let messages = history::messages(value)?;
    let tools = ToolFields { tools: own.tools, ..ToolFields::default() };
    if messages.is_empty() {
        tools.check(&begun.service)?;
        return begun.loaded();
    }
    begun.conversation.messages = Some(Tree { value: messages.into(), bytes });
    begun.run(call, fields, tools).await
}

/// Answers a prompt; an empty one only asks for the model.
pub(crate) async fn generate(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::OllamaGenerate)?;
    let mut begun = Begun::read(call, &mut fields, Form::Generate)?;
    let own: GenerateFields = part(&mut fields)?;
    let Some(prompt) = own.prompt.filter(|prompt| !prompt.is_empty()) else {
        return begun.loaded();
    };
    if own.raw.is_some_and(|Flag(raw)| raw) {
        if own.system.is_some_and(|system| !system.is_empty()) {
            return Err(Fault::field("system", "not beside raw: true, which uses no template"));
        }
        return begun.run_raw(call, fields, prompt).await;
    }
    let bytes = prompt.len() + own.system.as_ref().map_or(0, String::len);
    let system = own.system.map(|system| json!({ "role": "system", "content": system }));
    let user = json!({ "role": "user", "content": prompt });
    let messages: Vec<Value> = system.into_iter().chain([user]).collect();
    begun.conversation.messages = Some(Tree { value: messages.into(), bytes });
    begun.run(call, fields, ToolFields::default()).await
}

/// The model of that name; `:latest` says nothing.
pub(super) fn named(call: &Call, name: Option<&str>) -> Result<Arc<Service>, Fault> {
    let name = name.filter(|name| !name.is_empty());
    let name = name.map(|name| name.strip_suffix(":latest").unwrap_or(name));
    call.app.model(name, call.door)
}

/// What is asked for, but for the prompt.
struct Begun {
    service: Arc<Service>,
    conversation: Conversation,
    base: GenerateRequest,
    tree_bytes: usize,
    answer: Answer,
    framing: Option<Framing>,
}

impl Begun {
    fn read(call: &Call, fields: &mut Fields, form: Form) -> Result<Self, Fault> {
        let began = Instant::now();
        let own: Common = part(fields)?;
        let options = Options::read(fields)?;
        let service = named(call, own.model.as_deref())?;
        let length = options.length()?;
        let trees = [&own.format, &own.think].into_iter().flatten();
        let tree_bytes = trees.map(|tree| tree.bytes).sum();
        let mut conversation = Conversation::default();
        think(own.think, &service, &mut conversation, fields)?;
        let base = GenerateRequest {
            max_new_tokens: length,
            grammar: own.format.map(grammar).transpose()?.flatten(),
            ..options.sampling(length).plain(call, service.edge())
        };
        // Streams are the default.
        let is_stream = own.stream.is_none_or(|Flag(stream)| stream);
        let answer = Answer {
            form,
            model: service.name().to_owned(),
            began,
            reading: None,
            blocks: Blocks::new(None),
            finish: None,
        };
        let framing = is_stream.then_some(Framing::NewlineDelimited);
        Ok(Self { service, conversation, base, tree_bytes, answer, framing })
    }

    /// The model is there; what else is said must be right all the same.
    fn loaded(self) -> Result<Response<Body>, Fault> {
        self.service.check(&self.base)?;
        Ok(call::json_text(self.answer.loaded()))
    }

    /// Runs it as a chat.
    async fn run(
        self,
        call: &mut Call,
        fields: Fields,
        tools: ToolFields,
    ) -> Result<Response<Body>, Fault> {
        let Self { service, conversation, base, tree_bytes, answer, framing } = self;
        let asked = Asked { service, conversation, tools, tree_bytes, base };
        let Running { generations, reading } = asked.run(call).await?;
        let answer = Answer { blocks: Blocks::new(reading.as_ref()), reading, ..answer };
        respond(call, &fields, generations, answer, framing).await
    }

    /// Runs it as it is, without a template.
    async fn run_raw(
        self,
        call: &mut Call,
        fields: Fields,
        prompt: String,
    ) -> Result<Response<Body>, Fault> {
        let Self { service, base, answer, framing, .. } = self;
        let request = GenerateRequest { prompt: Prompt::Text(prompt), ..base };
        let generations = Generations::start(&service, vec![request], None).await?;
        call.share = None;
        respond(call, &fields, generations, answer, framing).await
    }
}

async fn respond(
    call: &Call,
    fields: &Fields,
    generations: Generations,
    answer: Answer,
    framing: Option<Framing>,
) -> Result<Response<Body>, Fault> {
    let mut response = stream::answer(call, generations, answer, framing).await?;
    tell_ignored(&mut response, fields);
    Ok(response)
}

/// `format`: `"json"`, or a schema.
fn grammar(Tree { value, .. }: Tree) -> Result<Option<Wanted>, Fault> {
    const FIELD: &str = "format";
    let source = match &value {
        Value::String(word) if word.is_empty() => return Ok(None),
        Value::String(word) if word == "json" => GrammarSource::JsonObject,
        Value::String(_) | Value::Bool(_) => {
            return Err(Fault::field(FIELD, "must be \"json\" or a JSON schema, an object"));
        }
        schema => structured::schema(FIELD, schema)?,
    };
    Ok(Some(Wanted { field: FIELD, source: source.into() }))
}

/// `think`: a variable of the template where it has one. A wish that nothing here can meet is told.
fn think(
    think: Option<Tree>,
    service: &Service,
    conversation: &mut Conversation,
    fields: &mut Fields,
) -> Result<(), Fault> {
    let Some(Tree { value, bytes }) = think else { return Ok(()) };
    let wanted = match &value {
        Value::Bool(wanted) => *wanted,
        Value::String(effort) if ["low", "medium", "high", "max"].contains(&effort.as_str()) => {
            true
        }
        _ => {
            let what = "must be true, false, \"low\", \"medium\", \"high\" or \"max\"";
            return Err(Fault::field("think", what));
        }
    };
    if value.is_string() && has_variable(service, "reasoning_effort") {
        conversation.reasoning_effort = Some(Tree { value, bytes });
    } else if has_variable(service, "enable_thinking") {
        conversation.enable_thinking = Some(Tree { value: wanted.into(), bytes });
    } else if wanted != reasoning(service).is_some() {
        fields.ignore("think");
    }
    Ok(())
}
