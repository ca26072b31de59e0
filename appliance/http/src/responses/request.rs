//! A body of `/v1/responses`, as the chat that it asks for.
//!
//! Next: `input.rs`.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use gimbal_engine::{GenerateRequest, SampleParams, Service};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::{Answer, Keep};
use super::kept::Owner;
use super::shapes::Echo;
use super::{history, input, options};
use crate::access::random_hex;
use crate::call::{self, Call, tell_ignored};
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::framing::Framing;
use crate::members::part;
use crate::names::Scope;
use crate::openai::{Asked, Blocks, Conversation, Running, alternatives};
use crate::sampling::Sampling;
use crate::schemas;
use crate::state::{SHOWN_MAX, unix_ms};
use crate::stream;
use crate::typed::{Count, Flag, List, Number, Tree};

/// Names in `include`.
const INCLUDED_MAX: usize = 64;

/// What a body says.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ResponsesFields {
    #[schema(schema_with = schemas::text)]
    model: Option<String>,
    #[schema(schema_with = schemas::items)]
    input: Option<Tree>,
    #[schema(schema_with = schemas::text)]
    instructions: Option<String>,
    #[schema(schema_with = schemas::length)]
    max_output_tokens: Option<Count>,
    #[schema(schema_with = schemas::temperature)]
    temperature: Option<Number>,
    #[schema(schema_with = schemas::top_p)]
    top_p: Option<Number>,
    #[schema(schema_with = schemas::alternatives)]
    top_logprobs: Option<Count>,
    #[schema(schema_with = schemas::flat_tools)]
    tools: Option<Tree>,
    #[schema(schema_with = schemas::text_or_object)]
    tool_choice: Option<Tree>,
    #[schema(schema_with = schemas::flag)]
    parallel_tool_calls: Option<Flag>,
    #[schema(schema_with = schemas::text_config)]
    text: Option<Tree>,
    #[schema(schema_with = schemas::reasoning)]
    reasoning: Option<Tree>,
    #[schema(schema_with = schemas::included)]
    include: Option<List<String, INCLUDED_MAX>>,
    #[schema(schema_with = schemas::notes)]
    metadata: Option<Tree>,
    #[schema(schema_with = schemas::text)]
    previous_response_id: Option<String>,
    #[schema(schema_with = schemas::flag)]
    store: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    stream: Option<Flag>,
    #[schema(schema_with = schemas::text)]
    user: Option<String>,
}

/// Answers an input.
pub(crate) async fn responses(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Responses)?;
    let mut own: ResponsesFields = part(&mut fields)?;
    let service = call.app.model(own.model.as_deref(), call.door)?;
    let owner = call.app.settings().keys.owner(&call.headers);
    let is_stream = own.stream.is_some_and(|Flag(stream)| stream);
    let wants = own.store.map(|Flag(store)| store);
    let (items, bytes) = items(call, &mut own, owner)?;
    let (asked, mut echo) = asked(call, own, &service, (&items, bytes), &mut fields)?;
    let top = asked.base.params.logprobs;
    let items = call::json_bytes(&items);
    let is_kept = call.app.kept().takes(items.len() + call::json_bytes(&echo).len());
    echo.store = is_kept && wants != Some(false);
    if wants == Some(true) && !is_kept {
        fields.ignore("store");
    }
    let keep = echo.store.then(|| Keep { app: call.app.clone(), owner, items });
    let Running { generations, reading } = asked.run(call).await.map_err(renamed)?;
    let answer = Answer {
        id: format!("resp_{}{}", random_hex(), random_hex()),
        created_at: unix_ms() / 1000,
        model: service.name().to_owned(),
        echo,
        tokenizer: Arc::clone(service.tokenizer()),
        top,
        cost: generations.usage(),
        blocks: Blocks::new(reading.as_ref()),
        reading,
        told: Vec::new(),
        sequence: 0,
        keep,
        _share: call.share.take(),
    };
    let framing = is_stream.then_some(Framing::Events);
    let mut response = stream::answer(call, generations, answer, framing).await?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}

/// The chat that a body asks for, with these items and the bytes of their trees; and what the answer
/// repeats of it.
fn asked(
    call: &Call,
    own: ResponsesFields,
    service: &Arc<Service>,
    (items, bytes): (&[Value], usize),
    fields: &mut Fields,
) -> Result<(Asked, Echo), Fault> {
    if matches!(own.max_output_tokens, Some(Count(0))) {
        return Err(Fault::field("max_output_tokens", "must be at least 1"));
    }
    let top = top(&own)?;
    let others = [&own.text, &own.reasoning, &own.metadata].into_iter().flatten();
    // The items stay beside the messages that are made of them.
    let tree_bytes = bytes + others.map(|tree| tree.bytes).sum::<usize>();
    let told = history::messages(own.instructions.as_deref(), items);
    let messages = Some(Tree { value: told.into(), bytes });
    let mut conversation = Conversation { messages, ..Conversation::default() };
    let (grammar, text) = options::format(own.text)?;
    let reasoning = options::reasoning(own.reasoning, service, &mut conversation, fields)?;
    let tool_choice = own.tool_choice.as_ref().map_or("auto".into(), |tree| tree.value.clone());
    let (repeated, tools) = options::tools(own.tools, own.tool_choice, own.parallel_tool_calls)?;
    let (temperature, top_p) = (own.temperature, own.top_p);
    let sampling = Sampling { temperature, top_p, ..Sampling::default() };
    let base = sampling.plain(call, service.edge());
    let length = own.max_output_tokens.map(Count::small);
    let params = SampleParams { logprobs: top, ..base.params.clone() };
    let base = GenerateRequest { max_new_tokens: length, grammar, params, ..base };
    let echo = Echo {
        background: false,
        instructions: own.instructions,
        max_output_tokens: length,
        metadata: options::metadata(own.metadata)?,
        parallel_tool_calls: own.parallel_tool_calls.is_none_or(|Flag(flag)| flag),
        previous_response_id: own.previous_response_id,
        reasoning,
        service_tier: "default",
        store: false,
        temperature: base.params.temperature,
        text,
        tool_choice,
        tools: repeated,
        top_logprobs: top.unwrap_or(0),
        top_p: base.params.top_p,
        truncation: "disabled",
        user: own.user,
    };
    let service = Arc::clone(service);
    Ok((Asked { service, conversation, tools, tree_bytes, base }, echo))
}

/// Alternatives to each token, where log probabilities are wanted.
fn top(own: &ResponsesFields) -> Result<Option<u8>, Fault> {
    let included = own.include.as_ref().map(|List(names)| names.as_slice());
    let is_wanted = options::include(included.unwrap_or_default())?;
    let top = own.top_logprobs.map(|n| alternatives("top_logprobs", n)).transpose()?;
    Ok(top.filter(|n| *n > 0).or(is_wanted.then_some(0)))
}

/// All items that are answered: those of the response before, its output, and the input; with the bytes
/// of their trees.
fn items(
    call: &mut Call,
    own: &mut ResponsesFields,
    owner: Owner,
) -> Result<(Vec<Value>, usize), Fault> {
    let app = call.app.clone();
    let (mut items, mut bytes) = (Vec::new(), 0);
    if let Some(id) = &own.previous_response_id {
        let found = app.kept().find(id, owner).filter(|entry| entry.id == *id);
        let entry = found.ok_or_else(|| no_response(id))?;
        call.charge(entry.items.len() + entry.response.len())?;
        for (list, name) in [(&entry.items, None), (&entry.response, Some("output"))] {
            let (value, weight) = tree(list)?;
            bytes += weight;
            let list = match (name, value) {
                (Some(name), Value::Object(mut members)) => members.remove(name),
                (_, value) => Some(value),
            };
            if let Some(Value::Array(list)) = list {
                items.extend(list);
            }
        }
    }
    let input = own.input.take().ok_or_else(|| Fault::field("input", "is missing"))?;
    bytes += input.bytes;
    let find = |id: &str| {
        let Some(entry) = app.kept().find(id, owner) else { return Ok(None) };
        call.charge(entry.response.len())?;
        let (response, _) = tree(&entry.response)?;
        let output = response["output"].as_array().into_iter().flatten();
        Ok(output.into_iter().find(|item| item["id"] == id).cloned())
    };
    items.extend(input::items(input.value, find)?);
    if items.is_empty() {
        return Err(Fault::field("input", "must not be empty"));
    }
    Ok((items, bytes))
}

/// What is kept, as a tree, with its weight.
fn tree(json: &Bytes) -> Result<(Value, usize), Fault> {
    let broken = |_| Fault::new(Kind::Internal, "what was kept of a response is no JSON");
    let Tree { value, bytes } = serde_json::from_slice(json).map_err(broken)?;
    Ok((value, bytes))
}

/// Nothing of that id is kept, or it is another key's.
fn no_response(id: &str) -> Fault {
    let id: String = id.chars().take(SHOWN_MAX).collect();
    let message = format!(
        "previous_response_id: no response {id:?} is kept here (any more); send the whole conversation \
         as input, or keep more (responses_kept)"
    );
    let fault = Fault::new(Kind::UnknownResponse, message);
    Fault { field: Some("previous_response_id".to_owned()), ..fault }
}

/// A chat's error in the words of these bodies.
fn renamed(fault: Fault) -> Fault {
    fault.renamed(&[(".function", ""), ("max_tokens", "max_output_tokens"), ("messages", "input")])
}
