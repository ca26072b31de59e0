//! A conversation as Ollama writes it, as chats have it: arguments are objects, calls have no ids, and a
//! result names its tool.
//!
//! Next: `shapes.rs`.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::places::{Members, known, object, refused, text};

/// The messages of a chat.
pub(super) fn messages(messages: Value) -> Result<Vec<Value>, Fault> {
    let Value::Array(messages) = messages else {
        return Err(Fault::field("messages", "must be a list"));
    };
    let mut calls = Calls::default();
    let messages = messages.into_iter().enumerate();
    messages.map(|(i, message)| calls.message(&format!("messages[{i}]"), message)).collect()
}

/// Calls that have no result yet, by the ids they are given here.
#[derive(Default)]
struct Calls {
    count: usize,
    open: VecDeque<(String, String)>,
}

impl Calls {
    fn message(&mut self, at: &str, message: Value) -> Result<Value, Fault> {
        const KNOWN: [&str; 8] = [
            "role",
            "content",
            "images",
            "thinking",
            "tool_calls",
            "tool_name",
            "name",
            "tool_call_id",
        ];
        let mut message = object(at, message)?;
        known(at, &message, &KNOWN)?;
        let role = text(at, &message, "role")?;
        if !["system", "user", "assistant", "tool"].contains(&role.as_str()) {
            let what = "must be \"system\", \"user\", \"assistant\" or \"tool\"";
            return Err(Fault::field(&format!("{at}.role"), what));
        }
        if message.remove("images").is_some_and(|images| !is_nothing(&images)) {
            return Err(refused(&format!("{at}.images"), "image"));
        }
        let content = match message.remove("content") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(content)) => content,
            Some(_) => return Err(Fault::field(&format!("{at}.content"), "must be a string")),
        };
        let mut told = Members::new();
        told.insert("role".to_owned(), role.as_str().into());
        told.insert("content".to_owned(), content.into());
        if let Some(thought) = message.remove("thinking").filter(|thought| !is_nothing(thought)) {
            if !thought.is_string() {
                return Err(Fault::field(&format!("{at}.thinking"), "must be a string"));
            }
            told.insert("reasoning_content".to_owned(), thought);
        }
        if let Some(calls) = message.remove("tool_calls").filter(|calls| !is_nothing(calls)) {
            told.insert("tool_calls".to_owned(), self.begin(at, calls)?);
        }
        if role == "tool" {
            told.extend(self.end(&message));
        }
        Ok(Value::Object(told))
    }

    /// Calls in OpenAI's form.
    fn begin(&mut self, at: &str, calls: Value) -> Result<Value, Fault> {
        let Value::Array(calls) = calls else {
            return Err(Fault::field(&format!("{at}.tool_calls"), "must be a list"));
        };
        let mut told = Vec::with_capacity(calls.len());
        for (j, call) in calls.into_iter().enumerate() {
            let at = format!("{at}.tool_calls[{j}]");
            let mut call = object(&at, call)?;
            known(&at, &call, &["id", "type", "function"])?;
            let place = format!("{at}.function");
            let mut function = object(&place, call.remove("function").unwrap_or_default())?;
            known(&place, &function, &["index", "name", "description", "arguments"])?;
            let name = text(&place, &function, "name")?;
            let arguments = match function.remove("arguments") {
                None | Some(Value::Null) => json!({}),
                Some(arguments @ Value::Object(_)) => arguments,
                Some(_) => {
                    return Err(Fault::field(&format!("{place}.arguments"), "must be an object"));
                }
            };
            let id = match call.remove("id") {
                Some(Value::String(id)) if !id.is_empty() => id,
                _ => format!("call_{}", self.count),
            };
            self.count += 1;
            self.open.push_back((name.clone(), id.clone()));
            let function = json!({ "name": name, "arguments": arguments });
            told.push(json!({ "id": id, "type": "function", "function": function }));
        }
        Ok(told.into())
    }

    /// Of which call a message is the result: that of its id, else the first of its tool, else the first.
    fn end(&mut self, message: &Members) -> Members {
        let said = |name: &str| message.get(name).and_then(Value::as_str);
        let (id, tool) = (said("tool_call_id"), said("tool_name").or_else(|| said("name")));
        let by_id = id.and_then(|id| self.open.iter().position(|(_, open)| open == id));
        let by_tool = || tool.and_then(|tool| self.open.iter().position(|(open, _)| open == tool));
        let found = by_id.or_else(by_tool).unwrap_or(0);
        let open = self.open.remove(found);
        let (name, open) = open.map_or((None, None), |(name, id)| (Some(name), Some(id)));
        let name = tool.map(str::to_owned).or(name);
        let id = id.map(str::to_owned).or(open);
        let members = [("name", name), ("tool_call_id", id)];
        let told = members.into_iter().filter_map(|(n, value)| Some((n.to_owned(), value?.into())));
        told.collect()
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_find_their_calls() {
        let call = |name: &str| json!({ "function": { "name": name, "arguments": { "a": 1 } } });
        let told = messages(json!([
            { "role": "user", "content": "Do.", "images": [] },
            { "role": "assistant", "content": "", "thinking": "So.",
              "tool_calls": [call("f"), call("g")] },
            { "role": "tool", "content": "7", "tool_name": "g" },
            { "role": "tool", "content": "8" },
        ]));
        let told = told.expect("fine");
        assert_eq!(told[1]["reasoning_content"], "So.");
        assert_eq!(told[1]["tool_calls"][1]["function"]["arguments"], json!({ "a": 1 }));
        let of = |i: usize| (&told[i]["name"], &told[i]["tool_call_id"]);
        assert_eq!(of(2), (&json!("g"), &json!("call_1")));
        assert_eq!(of(3), (&json!("f"), &json!("call_0")));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (message, expect) in [
            (json!({ "role": "user", "content": "x", "images": ["AA=="] }), "messages[0].images"),
            (json!({ "role": "bot", "content": "x" }), "messages[0].role: must be"),
            (json!({ "role": "user", "content": [1] }), "messages[0].content: must be a string"),
            (json!({ "role": "user", "content": "x", "sound": 1 }), "messages[0].sound"),
            (
                json!({ "role": "assistant", "tool_calls": [{ "function": { "name": "f",
                    "arguments": "{}" } }] }),
                "messages[0].tool_calls[0].function.arguments: must be an object",
            ),
        ] {
            let fault = messages(json!([message])).expect_err("it is wrong");
            assert!(fault.message.starts_with(expect), "{}", fault.message);
        }
    }
}
