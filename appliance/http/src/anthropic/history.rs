//! A conversation of blocks, as chats have it: results of tools are messages of their own, calls and
//! thoughts members of the assistant's.
//!
//! As Anthropic, turns of one side that follow each other are one; and an assistant's turn at the end
//! is gone on with. `cache_control` changes nothing: prefixes are found by their content. Next: `tools.rs`.

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::places::{self, Members, flag, object, refused, text};

/// The messages of a chat, and whether the last one is to be continued.
pub(super) fn messages(
    system: Option<Value>,
    messages: Value,
) -> Result<(Vec<Value>, bool), Fault> {
    let mut told = Turns::default();
    if let Some(system) = system {
        told.add("system", texts("system", system)?);
    }
    let Value::Array(messages) = messages else {
        return Err(Fault::field("messages", "must be a list"));
    };
    if messages.is_empty() {
        return Err(Fault::field("messages", "must not be empty"));
    }
    for (i, message) in messages.into_iter().enumerate() {
        let at = format!("messages[{i}]");
        let mut message = object(&at, message)?;
        known(&at, &message, &["role", "content"])?;
        let content = message.remove("content").unwrap_or_default();
        let place = format!("{at}.content");
        match message.get("role").and_then(Value::as_str) {
            Some("user") => told.user(&place, content)?,
            Some("assistant") => told.assistant(&place, content)?,
            Some("system") => told.add("system", texts(&place, content)?),
            _ => {
                let what = "must be \"user\", \"assistant\" or \"system\"";
                return Err(Fault::field(&format!("{at}.role"), what));
            }
        }
    }
    told.end()
}

/// The messages so far.
#[derive(Default)]
struct Turns(Vec<Value>);

impl Turns {
    /// Adds text parts to the turn of a role; a turn of nothing is none.
    fn add(&mut self, role: &str, parts: Vec<Value>) {
        if parts.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last["role"] == role => {
                if let Some(content) = last["content"].as_array_mut() {
                    content.extend(parts);
                }
            }
            _ => self.0.push(json!({ "role": role, "content": parts })),
        }
    }

    fn user(&mut self, at: &str, content: Value) -> Result<(), Fault> {
        for (at, kind, block) in blocks(at, content)? {
            match kind.as_str() {
                "text" => self.add("user", vec![part(&at, &block)?]),
                "tool_result" => self.0.push(result(&at, block)?),
                other => return Err(refused(&format!("{at}.type"), other)),
            }
        }
        Ok(())
    }

    fn assistant(&mut self, at: &str, content: Value) -> Result<(), Fault> {
        // Also one of calls or thoughts only has a content.
        if self.0.last().is_none_or(|last| last["role"] != "assistant") {
            self.0.push(json!({ "role": "assistant", "content": [] }));
        }
        for (at, kind, block) in blocks(at, content)? {
            let Some(turn) = self.0.last_mut().and_then(Value::as_object_mut) else { continue };
            match kind.as_str() {
                "text" => {
                    let part = part(&at, &block)?;
                    self.add("assistant", vec![part]);
                }
                "tool_use" => {
                    let call = call(&at, block)?;
                    let calls = turn.entry("tool_calls").or_insert_with(|| json!([]));
                    calls.as_array_mut().into_iter().for_each(|calls| calls.push(call.clone()));
                }
                "thinking" => {
                    known(&at, &block, &["type", "thinking", "signature"])?;
                    let more = text(&at, &block, "thinking")?;
                    let before = turn.get("reasoning_content").and_then(Value::as_str);
                    let thought = format!("{}{more}", before.unwrap_or_default());
                    turn.insert("reasoning_content".to_owned(), thought.into());
                }
                // Nobody here can read it.
                "redacted_thinking" => known(&at, &block, &["type", "data"])?,
                other => return Err(refused(&format!("{at}.type"), other)),
            }
        }
        Ok(())
    }

    /// All of it. A turn of the assistant at its end is gone on with; an empty one has not begun.
    fn end(mut self) -> Result<(Vec<Value>, bool), Fault> {
        let Some(last) = self.0.last().filter(|last| last["role"] == "assistant") else {
            return Ok((self.0, false));
        };
        if !last["tool_calls"].is_null() {
            let what = "the last one calls tools: their results must follow";
            return Err(Fault::field("messages", what));
        }
        let is_empty = |part: &Value| part["text"].as_str().is_none_or(str::is_empty);
        if last["content"].as_array().is_none_or(|parts| parts.iter().all(is_empty)) {
            self.0.pop();
            let what = "must have one that is not an empty turn of the assistant";
            return match self.0.is_empty() {
                true => Err(Fault::field("messages", what)),
                false => Ok((self.0, false)),
            };
        }
        Ok((self.0, true))
    }
}

/// A result of a tool.
fn result(at: &str, mut block: Members) -> Result<Value, Fault> {
    known(at, &block, &["type", "tool_use_id", "content", "is_error"])?;
    let id = text(at, &block, "tool_use_id")?;
    let is_error = flag(at, &block, "is_error")?;
    let mut content = match block.remove("content") {
        None | Some(Value::Null) => Vec::new(),
        Some(content) => texts(&format!("{at}.content"), content)?,
    };
    if is_error {
        // Templates have no word for it.
        content.insert(0, json!({ "type": "text", "text": "Error:" }));
    }
    Ok(json!({ "role": "tool", "tool_call_id": id, "content": content }))
}

/// A call of a tool.
fn call(at: &str, mut block: Members) -> Result<Value, Fault> {
    if block.get("caller").is_some_and(|caller| caller["type"] == "direct") {
        block.remove("caller");
    }
    known(at, &block, &["type", "id", "name", "input"])?;
    let (id, name) = (text(at, &block, "id")?, text(at, &block, "name")?);
    let input = match block.remove("input") {
        Some(Value::Object(input)) => input,
        _ => return Err(Fault::field(&format!("{at}.input"), "must be an object")),
    };
    let function = json!({ "name": name, "arguments": input });
    Ok(json!({ "id": id, "type": "function", "function": function }))
}

/// A text, or text blocks alone.
fn texts(at: &str, content: Value) -> Result<Vec<Value>, Fault> {
    let of_block = |(at, kind, block): (String, String, Members)| match kind.as_str() {
        "text" => part(&at, &block),
        other => Err(refused(&format!("{at}.type"), other)),
    };
    blocks(at, content)?.into_iter().map(of_block).collect()
}

/// A text block as a part of a chat's message.
fn part(at: &str, block: &Members) -> Result<Value, Fault> {
    known(at, block, &["type", "text"])?;
    Ok(json!({ "type": "text", "text": text(at, block, "text")? }))
}

/// The blocks of a content, each with its place and its type.
fn blocks(at: &str, content: Value) -> Result<Vec<(String, String, Members)>, Fault> {
    let blocks = match content {
        Value::String(text) => vec![json!({ "type": "text", "text": text })],
        Value::Array(blocks) => blocks,
        _ => return Err(Fault::field(at, "must be a string or a list of blocks")),
    };
    let of_list = |(j, block): (usize, Value)| {
        let at = format!("{at}[{j}]");
        let block = object(&at, block)?;
        let kind = text(&at, &block, "type")?;
        Ok((at, kind, block))
    };
    blocks.into_iter().enumerate().map(of_list).collect()
}

/// Refuses members of other names. Those of `cache_control` may stand everywhere.
pub(super) fn known(at: &str, members: &Members, names: &[&str]) -> Result<(), Fault> {
    places::known(at, members, &[names, &["cache_control"]].concat())
}
