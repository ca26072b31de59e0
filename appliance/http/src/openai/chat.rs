//! `/v1/chat/completions`, and chat bodies on `/invocations`.
//!
//! Without a limit an answer goes on to the end of the context. Next: `completions.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use gimbal_engine::{Completed, Delta, GenerateRequest, TokenInfo, Usage};
use gimbal_text::Tokenizer;
use serde::Deserialize;
use utoipa::ToSchema;

use super::conversation::Conversation;
use super::logprobs;
use super::logprobs::{Shown, ShownFields};
use super::request::{Common, Delivery, Header, Told, alternatives, deadline, patience};
use super::shapes::{ChatChoice, ChatDelta, ChatLogprobs, ChatMessage, ChatPiece, Object};
use crate::call::{self, Call, tell_ignored};
use crate::fault::{Door, Fault, Schema};
use crate::fields::Fields;
use crate::framing::Frames;
use crate::generations::{Generations, fault_of};
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
    let tree_bytes = conversation.bytes() + common.tree_bytes;
    let prompt = conversation.prompt()?;
    let base = common.request(call, service.edge());
    call.charge(tree_bytes)?;
    let request = GenerateRequest {
        prompt,
        max_new_tokens: length,
        logprob_token_ids,
        scores: shown.prompt,
        params: gimbal_engine::SampleParams { logprobs: top, ..base.params.clone() },
        deadline: deadline(call, service.edge(), stream),
        ..base
    };
    let generations =
        Generations::start(&service, vec![request], patience(call, service.edge())).await?;
    call.share = None;
    let header = Header::new(call, "chatcmpl", &service);
    let tokenizer = service.tokenizer().clone();
    let prompt = Some(generations.prompt(0)).filter(|_| shown.ids);
    let writer = Writer { header, tokenizer, shown, has_ids, prompt, door: call.door };
    let framing = stream.then(|| call.openai_framing(service.edge()));
    let chat = Chat { writer, told, cost: generations.usage(), tokens: Vec::new() };
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
    /// Tokens so far, of every choice whose role was told.
    tokens: Vec<(u16, u32)>,
}

impl Chat {
    fn frame(&self, tokens: u32, piece: ChatPiece<'_>, out: &mut Frames) {
        let usage = self.told.usage(Usage { completion_tokens: tokens, ..self.cost });
        out.add(&self.writer.header.object(CHUNK, vec![piece], usage));
    }

    /// Counts a choice's tokens; tells its role before the first.
    fn count(&mut self, delta: &Delta, out: &mut Frames) -> u32 {
        let more = u32::from(delta.token.is_some());
        if let Some((_, tokens)) = self.tokens.iter_mut().find(|(c, _)| *c == delta.choice) {
            *tokens += more;
            return *tokens;
        }
        self.tokens.push((delta.choice, more));
        let role = ChatDelta { role: Some(ASSISTANT), content: Some("") };
        let usage = self.told.usage(Usage { completion_tokens: 0, ..self.cost });
        let prompt = self.writer.prompt.take();
        let chunk = self.writer.header.object(CHUNK, vec![piece(delta.choice, role)], usage);
        out.add(&Object { prompt_token_ids: prompt.as_deref(), ..chunk });
        more
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
            ChatChoice {
                index,
                message: ChatMessage { role: ASSISTANT, content: &choice.text },
                logprobs: writer.logprobs(tokens.clone()),
                finish_reason: (&choice.finish).into(),
                token_ids: writer.shown.ids.then(|| tokens.map(|token| token.id).collect()),
            }
        });
        let (choices, usage) = (choices.collect(), Some(Some(cost.into())));
        let scores = prompts.iter().flatten().next().and_then(|choice| choice.scores.as_deref());
        let scores = writer.shown.prompt.zip(scores);
        call::json_bytes(&Object {
            prompt_token_ids: writer.prompt.as_deref(),
            prompt_logprobs: scores
                .map(|(top, scores)| logprobs::prompt(&writer.tokenizer, scores, top.into())),
            ..writer.header.object("chat.completion", choices, usage)
        })
    }

    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        let tokens = self.count(&delta, out);
        let writer = &self.writer;
        let shows_token = writer.shown.top.is_some() || writer.shown.ids;
        let token = delta.token.as_ref().filter(|_| shows_token);
        if !delta.text.is_empty() || token.is_some() {
            let content = ChatDelta { role: None, content: Some(&delta.text) };
            let piece = ChatPiece {
                logprobs: token.and_then(|token| writer.logprobs(std::iter::once(token))),
                token_ids: token.filter(|_| writer.shown.ids).map(|token| vec![token.id]),
                ..piece(delta.choice, content)
            };
            self.frame(tokens, piece, out);
        }
        let Some(finish) = &delta.finish else { return ControlFlow::Continue(()) };
        if let Some(fault) = fault_of(finish, true) {
            out.add(&fault.body(Schema::OpenAi, writer.door));
            return ControlFlow::Break(());
        }
        let last = piece(delta.choice, ChatDelta::default());
        self.frame(tokens, ChatPiece { finish_reason: Some(finish.into()), ..last }, out);
        ControlFlow::Continue(())
    }

    fn end(&mut self, cost: Usage, out: &mut Frames) {
        let cost = (self.told != Told::Never).then_some(cost);
        self.writer.header.done::<ChatPiece<'_>>(CHUNK, cost, out);
    }
}
