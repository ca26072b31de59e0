//! `/v1/chat/completions`, and chat bodies on `/invocations`.
//!
//! Without a limit an answer goes on to the end of the context. How it is run: `asked.rs`. Next:
//! `completions.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use gimbal_engine::{Completed, Delta, FinishReason, GenerateRequest, TokenInfo, Usage};
use gimbal_text::Tokenizer;
use serde::Deserialize;
use utoipa::ToSchema;

use super::asked::{Asked, Running};
use super::conversation::Conversation;
use super::logprobs;
use super::logprobs::{Shown, ShownFields};
use super::request::{Common, Delivery, Header, Told, alternatives, deadline};
use super::shapes::{
    CalledFunction, ChatChoice, ChatDelta, ChatLogprobs, ChatMessage, ChatPiece, Finish, Object,
    ToolCall,
};
use super::spoken::{Reader, Reading, Said, Spoken};
use super::tools::ToolFields;
use crate::call::{self, Call, tell_ignored};
use crate::fault::{Door, Fault, Schema};
use crate::fields::Fields;
use crate::framing::Frames;
use crate::generations::fault_of;
use crate::members::part;
use crate::names::Scope;
use crate::schemas;
use crate::stream::{self, Encode};
use crate::typed::{Count, Flag};

const ASSISTANT: &str = "assistant";
const CHUNK: &str = "chat.completion.chunk";

/// What a chat body says beside what completions say too.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ChatFields {
    #[schema(schema_with = schemas::length)]
    max_completion_tokens: Option<Count>,
    #[schema(schema_with = schemas::flag)]
    logprobs: Option<Flag>,
    #[schema(schema_with = schemas::alternatives)]
    top_logprobs: Option<Count>,
}

/// Answers a conversation.
pub(crate) async fn chat(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Chat)?;
    let common = Common::read(&mut fields)?;
    let service = call.app.model(common.shared.model.as_deref(), call.door)?;
    let Delivery { stream, told } = common.delivery;
    let conversation: Conversation = part(&mut fields)?;
    let own: ChatFields = part(&mut fields)?;
    let max_tokens = common.sampling.max_tokens;
    if matches!(max_tokens, Some(Count(0))) {
        return Err(Fault::field("max_tokens", "must be at least 1"));
    }
    let length = own.max_completion_tokens.or(max_tokens).map(Count::small);
    let top = own.top()?;
    let (shown, logprob_token_ids) = part::<ShownFields>(&mut fields)?.shown(top, stream)?;
    let has_ids = !logprob_token_ids.is_empty();
    let tools: ToolFields = part(&mut fields)?;
    let tree_bytes = common.tree_bytes;
    let base = common.request(call, service.edge());
    let base = GenerateRequest {
        max_new_tokens: length,
        logprob_token_ids,
        scores: shown.prompt,
        params: gimbal_engine::SampleParams { logprobs: top, ..base.params.clone() },
        deadline: deadline(call, service.edge(), stream),
        ..base
    };
    let asked = Asked { service: Arc::clone(&service), conversation, tools, tree_bytes, base };
    let Running { generations, reading } = asked.run(call).await?;
    call.share = None;
    let header = Header::new(call, "chatcmpl", &service);
    let tokenizer = service.tokenizer().clone();
    let prompt = Some(generations.prompt(0)).filter(|_| shown.ids);
    let writer = Writer { header, tokenizer, shown, has_ids, prompt, door: call.door, reading };
    let framing = stream.then(|| call.openai_framing(service.edge()));
    let chat = Chat { writer, told, cost: generations.usage(), begun: Vec::new() };
    let mut response = stream::answer(call, generations, chat, framing).await?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}

impl ChatFields {
    /// `logprobs: true` reports the token's own, `top_logprobs` so many alternatives.
    fn top(&self) -> Result<Option<u8>, Fault> {
        let wanted = self.logprobs.is_some_and(|Flag(wanted)| wanted);
        match self.top_logprobs {
            Some(Count(1..)) if !wanted => {
                Err(Fault::field("top_logprobs", "needs logprobs: true"))
            }
            Some(count) => alternatives("top_logprobs", count).map(|n| wanted.then_some(n)),
            None => Ok(wanted.then_some(0)),
        }
    }
}

/// Writes the objects of one answer.
#[derive(Debug)]
struct Writer {
    header: Header,
    tokenizer: Arc<Tokenizer>,
    shown: Shown,
    /// Log probabilities are those of tokens that were asked for.
    has_ids: bool,
    /// The prompt's tokens, where they are shown.
    prompt: Option<Vec<u32>>,
    door: Door,
    /// How texts are read, where they may be more than texts.
    reading: Option<Reading>,
}

impl Writer {
    fn logprobs<'a>(
        &'a self,
        tokens: impl Iterator<Item = &'a TokenInfo>,
    ) -> Option<ChatLogprobs<'a>> {
        self.shown.top?;
        Some(logprobs::chat(&self.tokenizer, self.shown, self.has_ids, tokens))
    }
}

/// An answer; a stream is of chunks, and `[DONE]` ends it unless it failed.
#[derive(Debug)]
struct Chat {
    writer: Writer,
    told: Told,
    /// What was known to be spent at the beginning.
    cost: Usage,
    /// Every choice whose role was told.
    begun: Vec<Begun>,
}

/// A choice that has begun.
#[derive(Debug)]
struct Begun {
    choice: u16,
    /// Tokens so far.
    tokens: u32,
    reader: Option<Reader>,
}

impl Chat {
    fn frame(&self, tokens: u32, piece: ChatPiece<'_>, out: &mut Frames) {
        let usage = self.told.usage(Usage { completion_tokens: tokens, ..self.cost });
        out.add(&self.writer.header.object(CHUNK, vec![piece], usage));
    }

    /// Counts a choice's tokens; tells its role before the first. What the text says is read where it
    /// may be more than text.
    fn read(&mut self, delta: &Delta, out: &mut Frames) -> (u32, Option<Vec<Said>>, bool) {
        let at = match self.begun.iter().position(|begun| begun.choice == delta.choice) {
            Some(at) => at,
            None => {
                let reader = self.writer.reading.as_ref().map(Reading::reader);
                self.begun.push(Begun { choice: delta.choice, tokens: 0, reader });
                let (role, content) = (Some(ASSISTANT), Some(""));
                let role = ChatDelta { role, content, ..ChatDelta::default() };
                let usage = self.told.usage(Usage { completion_tokens: 0, ..self.cost });
                let prompt = self.writer.prompt.take();
                let chunk =
                    self.writer.header.object(CHUNK, vec![piece(delta.choice, role)], usage);
                out.add(&Object { prompt_token_ids: prompt.as_deref(), ..chunk });
                self.begun.len() - 1
            }
        };
        let begun = &mut self.begun[at];
        begun.tokens += u32::from(delta.token.is_some());
        let said = begun.reader.as_mut().map(|reader| {
            let mut said = reader.push(&delta.text);
            if delta.finish.is_some() {
                said.extend(reader.finish());
            }
            said
        });
        (begun.tokens, said, begun.reader.as_ref().is_some_and(|reader| reader.has_called))
    }

    fn is_older(&self) -> bool {
        let tools = self.writer.reading.as_ref().and_then(|reading| reading.tools.as_ref());
        tools.is_some_and(|tools| tools.is_older)
    }

    /// Why a choice ends: what was done with tools is told where nothing else ended it.
    fn finish(&self, finish: &FinishReason, has_called: bool) -> Finish {
        match Finish::from(finish) {
            Finish::Stop if has_called && self.is_older() => Finish::FunctionCall,
            Finish::Stop if has_called => Finish::ToolCalls,
            finish => finish,
        }
    }
}

/// What a piece adds to the message.
fn delta_of(said: &Said, is_older: bool) -> ChatDelta<'_> {
    let function = |name: Option<&String>, arguments: &str| CalledFunction {
        name: name.cloned(),
        arguments: arguments.to_owned(),
    };
    let call = |index: usize, id: Option<&String>, function: CalledFunction| match is_older {
        true => ChatDelta { function_call: Some(function), ..ChatDelta::default() },
        false => {
            let kind = id.map(|_| "function");
            let call = ToolCall { index: Some(index), id: id.cloned(), kind, function };
            ChatDelta { tool_calls: vec![call], ..ChatDelta::default() }
        }
    };
    match said {
        Said::Thought(text) => {
            let text = Some(text.as_str());
            ChatDelta { reasoning_content: text, reasoning: text, ..ChatDelta::default() }
        }
        Said::Text(text) => ChatDelta { content: Some(text), ..ChatDelta::default() },
        Said::Call { index, id, name } => call(*index, Some(id), function(Some(name), "")),
        Said::Arguments { index, delta } => call(*index, None, function(None, delta)),
    }
}

fn piece(index: u16, delta: ChatDelta<'_>) -> ChatPiece<'_> {
    ChatPiece { index, delta, logprobs: None, finish_reason: None, token_ids: None }
}

impl Encode for Chat {
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Bytes {
        let writer = &self.writer;
        let choices = prompts.iter().flatten().enumerate().map(|(index, choice)| {
            let tokens = choice.tokens.iter().map(|(token, _)| token);
            let message = self.message(&choice.text);
            let has_called = !message.tool_calls.is_empty() || message.function_call.is_some();
            ChatChoice {
                index,
                message,
                logprobs: writer.logprobs(tokens.clone()),
                finish_reason: self.finish(&choice.finish, has_called),
                token_ids: writer.shown.ids.then(|| tokens.map(|token| token.id).collect()),
            }
        });
        let (choices, usage) = (choices.collect(), Some(Some(cost.into())));
        let scores = prompts.iter().flatten().next().and_then(|choice| choice.scores.as_deref());
        let scores = writer.shown.prompt.zip(scores);
        call::json_bytes(&Object {
            prompt_token_ids: writer.prompt.as_deref(),
            prompt_logprobs: Some(
                scores.map(|(top, scores)| logprobs::prompt(&writer.tokenizer, scores, top.into())),
            ),
            ..writer.header.object("chat.completion", choices, usage)
        })
    }

    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        let (tokens, said, has_called) = self.read(&delta, out);
        let (writer, is_older) = (&self.writer, self.is_older());
        let shows_token = writer.shown.top.is_some() || writer.shown.ids;
        let token = delta.token.as_ref().filter(|_| shows_token);
        let text = |text| ChatDelta { content: Some(text), ..ChatDelta::default() };
        let mut deltas: Vec<ChatDelta<'_>> = match &said {
            None if delta.text.is_empty() => Vec::new(),
            None => vec![text(delta.text.as_str())],
            Some(said) => said.iter().map(|said| delta_of(said, is_older)).collect(),
        };
        if deltas.is_empty() && token.is_some() {
            deltas.push(text(""));
        }
        for (i, told) in deltas.into_iter().enumerate() {
            // A token is told once, with the first of what it brought.
            let token = token.filter(|_| i == 0);
            let piece = ChatPiece {
                logprobs: token.and_then(|token| writer.logprobs(std::iter::once(token))),
                token_ids: token.filter(|_| writer.shown.ids).map(|token| vec![token.id]),
                ..piece(delta.choice, told)
            };
            self.frame(tokens, piece, out);
        }
        let Some(finish) = &delta.finish else { return ControlFlow::Continue(()) };
        if let Some(fault) = fault_of(finish, true) {
            out.add(&fault.body(Schema::OpenAi, writer.door));
            return ControlFlow::Break(());
        }
        let (last, finish) =
            (piece(delta.choice, ChatDelta::default()), self.finish(finish, has_called));
        self.frame(tokens, ChatPiece { finish_reason: Some(finish), ..last }, out);
        ControlFlow::Continue(())
    }

    fn end(&mut self, cost: Usage, out: &mut Frames) {
        let cost = (self.told != Told::Never).then_some(cost);
        self.writer.header.done::<ChatPiece<'_>>(CHUNK, cost, out);
    }
}

impl Chat {
    fn message<'a>(&self, text: &'a str) -> ChatMessage<'a> {
        let plain = |content| ChatMessage {
            role: ASSISTANT,
            content,
            reasoning_content: None,
            reasoning: None,
            tool_calls: Vec::new(),
            function_call: None,
        };
        let Some(reading) = &self.writer.reading else { return plain(Some(text.into())) };
        let Spoken { thought, text, mut calls } = reading.whole(text);
        // Calls alone leave it null; an answer without any is a text, if an empty one.
        let content = text.or_else(|| calls.is_empty().then(String::new)).map(Into::into);
        let message = ChatMessage {
            reasoning: thought.clone(),
            reasoning_content: thought,
            ..plain(content)
        };
        if self.is_older() {
            let function_call = calls.into_iter().next().map(|call| call.function);
            return ChatMessage { function_call, ..message };
        }
        calls.iter_mut().for_each(|call| call.index = None);
        ChatMessage { tool_calls: calls, ..message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thought_has_both_of_its_names() -> serde_json::Result<()> {
        let told = serde_json::to_value(delta_of(&Said::Thought("Hm.".to_owned()), false))?;
        assert_eq!(told, serde_json::json!({ "reasoning_content": "Hm.", "reasoning": "Hm." }));
        Ok(())
    }
}
