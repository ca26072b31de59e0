//! `/v1/chat/completions`, and chat bodies on `/invocations`.
//!
//! Without a limit an answer goes on to the end of the context. Next: `completions.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Completed, Delta, GenerateRequest, Usage};
use gimbal_text::Tokenizer;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::conversation::Conversation;
use super::request::{Common, Delivery, Header, Told, alternatives, deadline, patience};
use super::{done, finish_name, logprobs, usage};
use crate::call::{Call, tell_ignored};
use crate::fault::{Door, Fault, Schema};
use crate::fields::Fields;
use crate::framing::Frames;
use crate::generations::{Generations, fault_of};
use crate::members::part;
use crate::names::Scope;
use crate::stream::{self, Encode};
use crate::typed::{Count, Flag};

/// What a chat body says beside what completions say too.
#[derive(Debug, Deserialize)]
pub(super) struct ChatFields {
    max_completion_tokens: Option<Count>,
    logprobs: Option<Flag>,
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
    let tree_bytes = conversation.bytes();
    let prompt = conversation.prompt()?;
    let base = common.request(call, service.edge());
    call.charge(tree_bytes)?;
    let request = GenerateRequest {
        prompt,
        max_new_tokens: length,
        params: gimbal_engine::SampleParams { logprobs: top, ..base.params.clone() },
        deadline: deadline(call, service.edge(), stream),
        ..base
    };
    let generations =
        Generations::start(&service, vec![request], patience(call, service.edge())).await?;
    call.share = None;
    let header = Header::new(call, "chatcmpl", &service);
    let writer = Writer { header, tokenizer: service.tokenizer().clone(), top, door: call.door };
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
    top: Option<u8>,
    door: Door,
}

impl Writer {
    fn chunk(&self, index: u16, delta: &Value, finish: Option<&str>) -> Value {
        let choice = json!({
            "index": index, "delta": delta, "logprobs": null, "finish_reason": finish,
        });
        self.header.object("chat.completion.chunk", &json!([choice]))
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
    /// Where usage was asked for, every chunk has the member.
    fn frame(&self, mut chunk: Value, completion_tokens: u32, out: &mut Frames) {
        match self.told {
            Told::Never => {}
            Told::AtEnd => chunk["usage"] = Value::Null,
            Told::Always => chunk["usage"] = usage(Usage { completion_tokens, ..self.cost }),
        }
        out.add(&chunk);
    }

    /// Counts a choice's tokens; tells its role before the first.
    fn count(&mut self, delta: &Delta, out: &mut Frames) -> u32 {
        let more = u32::from(delta.token.is_some());
        if let Some((_, tokens)) = self.tokens.iter_mut().find(|(c, _)| *c == delta.choice) {
            *tokens += more;
            return *tokens;
        }
        self.tokens.push((delta.choice, more));
        let role = json!({ "role": "assistant", "content": "" });
        self.frame(self.writer.chunk(delta.choice, &role, None), 0, out);
        more
    }
}

impl Encode for Chat {
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Value {
        let writer = &self.writer;
        let choice = |(index, choice): (usize, &Completed)| {
            let tokens = choice.tokens.iter().map(|(token, _)| token);
            let logprobs = writer.top.map(|_| logprobs::chat(&writer.tokenizer, tokens));
            json!({
                "index": index,
                "message": { "role": "assistant", "content": choice.text },
                "logprobs": logprobs,
                "finish_reason": finish_name(&choice.finish),
            })
        };
        let choices: Value = prompts.iter().flatten().enumerate().map(choice).collect();
        let mut object = writer.header.object("chat.completion", &choices);
        object["usage"] = usage(cost);
        object
    }

    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        let tokens = self.count(&delta, out);
        let writer = &self.writer;
        let wants_logprobs = writer.top.is_some() && delta.token.is_some();
        if !delta.text.is_empty() || wants_logprobs {
            let mut content = Map::new();
            content.insert("content".into(), delta.text.into());
            let mut chunk = writer.chunk(delta.choice, &Value::Object(content), None);
            if let (Some(_), Some(token)) = (writer.top, &delta.token) {
                let told = logprobs::chat(&writer.tokenizer, std::iter::once(token));
                chunk["choices"][0]["logprobs"] = told;
            }
            self.frame(chunk, tokens, out);
        }
        let Some(finish) = &delta.finish else { return ControlFlow::Continue(()) };
        if let Some(fault) = fault_of(finish, true) {
            out.add(&fault.body(Schema::OpenAi, writer.door));
            return ControlFlow::Break(());
        }
        let last = writer.chunk(delta.choice, &json!({}), Some(finish_name(finish)));
        self.frame(last, tokens, out);
        ControlFlow::Continue(())
    }

    fn end(&mut self, cost: Usage, out: &mut Frames) {
        let cost = (self.told != Told::Never).then_some(cost);
        done(&self.writer.header, "chat.completion.chunk", cost, out);
    }
}
