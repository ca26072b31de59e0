//! A body of Anthropic's, as the chat that it asks for.
//!
//! Next: `history.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::GenerateRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::shapes::TokensCount;
use super::{history, tools};
use crate::access::{self, random_hex};
use crate::call::{self, Call, tell_ignored};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::framing::Framing;
use crate::members::part;
use crate::names::Scope;
use crate::openai::{Asked, Blocks, Conversation, Running};
use crate::sampling::Sampling;
use crate::schemas;
use crate::stream;
use crate::typed::{Count, Flag, List, Number, STOPS_MAX, Texts, TopK, Tree};

/// What a body says.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct MessagesFields {
    #[schema(schema_with = schemas::text)]
    model: Option<String>,
    #[schema(schema_with = schemas::turns)]
    messages: Option<Tree>,
    #[schema(schema_with = schemas::text_blocks)]
    system: Option<Tree>,
    #[schema(schema_with = schemas::length)]
    max_tokens: Option<Count>,
    #[schema(schema_with = schemas::client_tools)]
    tools: Option<Tree>,
    #[schema(schema_with = schemas::object)]
    tool_choice: Option<Tree>,
    #[schema(schema_with = schemas::thinking)]
    thinking: Option<Tree>,
    #[schema(schema_with = schemas::object)]
    output_config: Option<Tree>,
    #[schema(schema_with = schemas::stop_list)]
    stop_sequences: Option<List<String, STOPS_MAX>>,
    #[schema(schema_with = schemas::temperature)]
    temperature: Option<Number>,
    #[schema(schema_with = schemas::top_p)]
    top_p: Option<Number>,
    #[schema(schema_with = schemas::top_k)]
    top_k: Option<TopK>,
    #[schema(schema_with = schemas::flag)]
    stream: Option<Flag>,
}

/// Answers a conversation.
pub(crate) async fn messages(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    let (asked, is_stream) = asked(call, &mut fields)?;
    match asked.base.max_new_tokens {
        None => return Err(Fault::field("max_tokens", "is missing")),
        Some(0) => return Err(Fault::field("max_tokens", "must be at least 1")),
        Some(_) => {}
    }
    let (service, stops) = (asked.service.clone(), asked.base.stop.clone());
    let Running { generations, reading } = asked.run(call).await.map_err(renamed)?;
    call.share = None;
    let answer = Answer {
        id: format!("msg_{}", random_hex()),
        model: service.name().to_owned(),
        request_id: access::id_of(&call.headers).map(str::to_owned),
        stops,
        cost: generations.usage(),
        blocks: Blocks::new(reading.as_ref()),
        reading,
        has_begun: false,
    };
    let framing = is_stream.then_some(Framing::Events);
    let mut response = stream::answer(call, generations, answer, framing).await?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}

/// Counts the tokens of a prompt: as many as an answer to it reports.
pub(crate) async fn count_tokens(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    let (asked, _) = asked(call, &mut fields)?;
    let input_tokens = asked.tokens(call).await.map_err(renamed)?.len();
    let mut response = call::json(&TokensCount { input_tokens });
    tell_ignored(&mut response, &fields);
    Ok(response)
}

/// The chat that a body asks for, and whether as a stream.
fn asked(call: &mut Call, fields: &mut Fields) -> Result<(Asked, bool), Fault> {
    fields.refuse_unsupported(Scope::Messages)?;
    let own: MessagesFields = part(fields)?;
    let service = call.app.model(own.model.as_deref(), call.door)?;
    let messages = own.messages.ok_or_else(|| Fault::field("messages", "is missing"))?;
    let trees = [&own.system, &own.tool_choice, &own.thinking, &own.output_config];
    let tree_bytes = trees.into_iter().flatten().map(|tree| tree.bytes).sum();
    let bytes = messages.bytes;
    let system = own.system.map(|tree| tree.value);
    let (told, is_continued) = history::messages(system, messages.value)?;
    let mut conversation = Conversation {
        messages: Some(Tree { value: told.into(), bytes }),
        continue_final_message: Some(Flag(is_continued)),
        ..Conversation::default()
    };
    tools::think(own.thinking, &service, &mut conversation, fields)?;
    let grammar = tools::output(own.output_config, &service, &mut conversation, fields)?;
    let tools = tools::tools(own.tools, own.tool_choice)?;
    let stop = own.stop_sequences.map(|List(texts)| Texts { texts, is_list: true });
    let sampling = Sampling {
        temperature: own.temperature,
        top_p: own.top_p,
        top_k: own.top_k,
        stop,
        // So that the one that was found is known.
        include_stop_str_in_output: Some(Flag(true)),
        ..Sampling::default()
    };
    let base = GenerateRequest {
        max_new_tokens: own.max_tokens.map(Count::small),
        grammar,
        ..sampling.plain(call, service.edge())
    };
    let is_stream = own.stream.is_some_and(|Flag(stream)| stream);
    Ok((Asked { service, conversation, tools, tree_bytes, base }, is_stream))
}

/// A chat's error in the words of these bodies.
fn renamed(fault: Fault) -> Fault {
    fault.renamed(&[
        (".function.parameters", ".input_schema"),
        (".function", ""),
        ("stop", "stop_sequences"),
    ])
}
