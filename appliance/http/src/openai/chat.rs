//! `/v1/chat/completions`, and chat bodies on `/invocations`.
//!
//! Without a limit an answer goes on to the end of the context. Next: `completions.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Completed, Delta, GenerateRequest, TokenInfo, Usage};
use gimbal_text::Tokenizer;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::conversation::Conversation;
use super::logprobs::{Shown, ShownFields};
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
    fn logprobs<'a>(&self, tokens: impl Iterator<Item = &'a TokenInfo>) -> Option<Value> {
        self.shown.top?;
        Some(logprobs::chat(&self.tokenizer, self.shown, self.has_ids, tokens))
    }

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
        let mut chunk = self.writer.chunk(delta.choice, &role, None);
        if let Some(prompt) = self.writer.prompt.take() {
            chunk["prompt_token_ids"] = json!(prompt);
        }
        self.frame(chunk, 0, out);
        more
    }
}

impl Encode for Chat {
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Value {
        let writer = &self.writer;
        let choice = |(index, choice): (usize, &Completed)| {
            let tokens = choice.tokens.iter().map(|(token, _)| token);
            let mut told = json!({
                "index": index,
                "message": { "role": "assistant", "content": choice.text },
                "logprobs": writer.logprobs(tokens),
                "finish_reason": finish_name(&choice.finish),
            });
            if writer.shown.ids {
                told["token_ids"] = choice.tokens.iter().map(|(token, _)| token.id).collect();
            }
            told
        };
        let choices = || prompts.iter().flatten();
        let told: Value = choices().enumerate().map(choice).collect();
        let mut object = writer.header.object("chat.completion", &told);
        object["usage"] = usage(cost);
        if let Some(prompt) = &writer.prompt {
            object["prompt_token_ids"] = json!(prompt);
        }
        let scores = choices().next().and_then(|choice| choice.scores.as_deref());
        if let (Some(top), Some(scores)) = (writer.shown.prompt, scores) {
            object["prompt_logprobs"] = logprobs::prompt(&writer.tokenizer, scores, top.into());
        }
        object
    }

    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        let tokens = self.count(&delta, out);
        let writer = &self.writer;
        let shows_token = writer.shown.top.is_some() || writer.shown.ids;
        if !delta.text.is_empty() || shows_token && delta.token.is_some() {
            let mut content = Map::new();
            content.insert("content".into(), delta.text.into());
            let mut chunk = writer.chunk(delta.choice, &Value::Object(content), None);
            if let Some(token) = &delta.token {
                chunk["choices"][0]["logprobs"] = json!(writer.logprobs(std::iter::once(token)));
                if writer.shown.ids {
                    chunk["choices"][0]["token_ids"] = json!([token.id]);
                }
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
