//! `/v1/chat/completions`, and chat bodies on `/invocations`.
//!
//! Without a limit an answer goes on to the end of the context. Next: `completions.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Completed, Delta, GenerateRequest, Prompt, TokenInfo, Turn, Usage};
use gimbal_text::Tokenizer;
use serde_json::{Map, Value, json};

use super::logprobs::Shown;
use super::request::{Delivery, Header, Told, alternatives, deadline, delivery, patience, request};
use super::{done, finish_name, logprobs, usage};
use crate::call::{Call, tell_ignored};
use crate::fault::{Door, Fault, Schema};
use crate::fields::Fields;
use crate::framing::Framing;
use crate::generations::{Generations, fault_of};
use crate::names::Scope;
use crate::stream::{self, Encode};
use crate::whole;

/// Answers a conversation.
pub(crate) async fn chat(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Chat)?;
    let service = call.app.model(fields.text("model")?.as_deref(), call.door)?;
    let Delivery { stream, told } = delivery(&mut fields)?;
    let prompt = prompt(&mut fields)?;
    let lengths = (fields.count32("max_completion_tokens")?, fields.count32("max_tokens")?);
    if lengths.1 == Some(0) {
        return Err(Fault::field("max_tokens", "must be at least 1"));
    }
    let length = lengths.0.or(lengths.1);
    let top = top_logprobs(&mut fields)?;
    let shown = Shown::take(&mut fields, top, stream)?;
    let logprob_token_ids = logprobs::ids(&mut fields, top)?;
    let has_ids = !logprob_token_ids.is_empty();
    let base = request(call, service.edge(), &mut fields)?;
    call.charge(fields.tree_bytes)?;
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
    let mut response = if stream {
        let (framing, cost) = (call.openai_framing(service.edge()), generations.usage());
        let chunks = Chunks { writer, framing, told, cost, tokens: Vec::new() };
        stream::response(call, generations, chunks, framing)
    } else {
        let (choices, cost) = generations.complete().await?;
        whole::json(call, &writer.whole(choices.first().map_or(&[][..], Vec::as_slice), cost))?
    };
    tell_ignored(&mut response, &[&fields]);
    Ok(response)
}

/// The conversation, as the template expects it.
pub(super) fn prompt(fields: &mut Fields) -> Result<Prompt, Fault> {
    let messages = match fields.tree("messages")? {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(Value::Array(_)) => return Err(Fault::field("messages", "must not be empty")),
        Some(_) => return Err(Fault::field("messages", "must be a list")),
        None => return Err(Fault::field("messages", "is missing")),
    };
    let messages = messages.into_iter().enumerate().map(message).collect::<Result<_, _>>()?;
    let turn = turn(fields)?;
    let mut variables = fields.object("chat_template_kwargs")?.unwrap_or_default();
    // What other servers let a client say at the top.
    for name in ["enable_thinking", "reasoning_effort"] {
        if let Some(value) = fields.tree(name)? {
            variables.insert(name.to_owned(), value);
        }
    }
    let add_special_tokens = fields.flag("add_special_tokens")?.unwrap_or(false);
    Ok(Prompt::Chat { messages, variables, turn, add_special_tokens })
}

/// Where the prompt ends; the assistant's turn is begun unless a field says otherwise.
fn turn(fields: &mut Fields) -> Result<Turn, Fault> {
    let add = fields.flag("add_generation_prompt")?;
    let continues = fields.flag("continue_final_message")?.unwrap_or(false);
    match (continues, add) {
        (true, Some(true)) => Err(Fault::field(
            "continue_final_message",
            "not beside add_generation_prompt: true; a new turn is begun or the last one goes on",
        )),
        (true, _) => Ok(Turn::Continued),
        (false, Some(false)) => Ok(Turn::Closed),
        (false, _) => Ok(Turn::Begun),
    }
}

/// A message as templates expect it: a role, and content as one string.
fn message((i, value): (usize, Value)) -> Result<Value, Fault> {
    let field = |name: &str| format!("messages[{i}]{name}");
    let Value::Object(mut message) = value else {
        return Err(Fault::field(&field(""), "must be an object"));
    };
    match message.get("role") {
        // Templates know the older name only.
        Some(Value::String(role)) if role == "developer" => {
            message.insert("role".into(), "system".into());
        }
        Some(Value::String(_)) => {}
        _ => return Err(Fault::field(&field(".role"), "must be a string")),
    }
    let content = match message.get("content") {
        Some(Value::String(_)) => return Ok(Value::Object(message)),
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(parts)) => {
            let part = |part: &Value| match part["type"].as_str()? {
                "text" | "input_text" | "output_text" => part["text"].as_str().map(str::to_owned),
                // What an assistant said instead of an answer.
                "refusal" => part["refusal"].as_str().map(str::to_owned),
                _ => None,
            };
            let texts: Option<Vec<String>> = parts.iter().map(part).collect();
            texts
                .ok_or_else(|| Fault::unsupported(&field(".content parts that are no text")))?
                // As vLLM and llama.cpp.
                .join("\n")
        }
        Some(_) => return Err(Fault::field(&field(".content"), "must be a string or text parts")),
    };
    message.insert("content".into(), content.into());
    Ok(Value::Object(message))
}

/// `logprobs: true` reports the token's own, `top_logprobs` so many alternatives.
fn top_logprobs(fields: &mut Fields) -> Result<Option<u8>, Fault> {
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    match fields.count("top_logprobs")? {
        Some(count) if count > 0 && !wanted => {
            Err(Fault::field("top_logprobs", "needs logprobs: true"))
        }
        Some(count) => alternatives("top_logprobs", count).map(|n| wanted.then_some(n)),
        None => Ok(wanted.then_some(0)),
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
    fn whole(&self, choices: &[Completed], cost: Usage) -> Value {
        let choice = |(index, choice): (usize, &Completed)| {
            let tokens = choice.tokens.iter().map(|(token, _)| token);
            let logprobs = self.logprobs(tokens);
            let mut told = json!({
                "index": index,
                "message": { "role": "assistant", "content": choice.text },
                "logprobs": logprobs,
                "finish_reason": finish_name(&choice.finish),
            });
            if self.shown.ids {
                told["token_ids"] = choice.tokens.iter().map(|(token, _)| token.id).collect();
            }
            told
        };
        let told: Value = choices.iter().enumerate().map(choice).collect();
        let mut object = self.header.object("chat.completion", &told);
        object["usage"] = usage(cost);
        if let Some(prompt) = &self.prompt {
            object["prompt_token_ids"] = json!(prompt);
        }
        let scores = choices.first().and_then(|choice| choice.scores.as_deref());
        if let (Some(top), Some(scores)) = (self.shown.prompt, scores) {
            object["prompt_logprobs"] = logprobs::prompt(&self.tokenizer, scores, top.into());
        }
        object
    }

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

/// A stream of chunks; `[DONE]` ends it unless it failed.
#[derive(Debug)]
struct Chunks {
    writer: Writer,
    framing: Framing,
    told: Told,
    /// What was known to be spent at the beginning.
    cost: Usage,
    /// Tokens so far, of every choice whose role was told.
    tokens: Vec<(u16, u32)>,
}

impl Chunks {
    /// Where usage was asked for, every chunk has the member.
    fn frame(&self, mut chunk: Value, completion_tokens: u32, out: &mut String) {
        match self.told {
            Told::Never => {}
            Told::AtEnd => chunk["usage"] = Value::Null,
            Told::Always => chunk["usage"] = usage(Usage { completion_tokens, ..self.cost }),
        }
        self.framing.frame(&chunk, out);
    }

    /// Counts a choice's tokens; tells its role before the first.
    fn count(&mut self, delta: &Delta, out: &mut String) -> u32 {
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

impl Encode for Chunks {
    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut String) -> ControlFlow<()> {
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
            self.framing.frame(&fault.body(Schema::OpenAi, writer.door), out);
            return ControlFlow::Break(());
        }
        let last = writer.chunk(delta.choice, &json!({}), Some(finish_name(finish)));
        self.frame(last, tokens, out);
        ControlFlow::Continue(())
    }

    fn end(&mut self, cost: Usage, out: &mut String) {
        let cost = (self.told != Told::Never).then_some(cost);
        done(&self.writer.header, "chat.completion.chunk", self.framing, cost, out);
    }
}
