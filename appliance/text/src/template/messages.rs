//! What a client sent, as a template sees it: marked as the client's, with the arguments of tool
//! calls as objects and a message's reasoning by the names that templates know.
//!
//! Next: `continued.rs`.

use std::rc::Rc;

use serde_json::{Map, Value as Json};

use crate::jinja::{Dict, Meter, Outcome, Text, Value, object};

/// Roles that the words themselves choose, so that templates may write control tokens with them
/// (`'<|' + message.role + '|>'`). Any other role is a client's text like all of its texts.
const ROLES: [&str; 13] = [
    "assistant",
    "bot",
    "context",
    "developer",
    "environment",
    "function",
    "human",
    "ipython",
    "model",
    "observation",
    "system",
    "tool",
    "user",
];
/// Names of a message's reasoning, as `transformers` takes them; the first is the usual one.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Bytes of text that a client sent, and some for each value.
pub(super) fn bytes(json: &Json) -> usize {
    match json {
        Json::String(text) => text.len(),
        Json::Array(items) => 8 + items.iter().map(bytes).sum::<usize>(),
        Json::Object(fields) => {
            let field = |(name, value): (&String, &Json)| name.len() + bytes(value);
            8 + fields.iter().map(field).sum::<usize>()
        }
        _ => 8,
    }
}

/// The messages as values.
pub(super) fn values(messages: &[Json], meter: &Meter) -> Outcome<Vec<Value>> {
    meter.items(messages.len())?;
    messages.iter().map(|message| self::message(message, meter)).collect()
}

fn message(message: &Json, meter: &Meter) -> Outcome<Value> {
    let Json::Object(fields) = message else { return Value::client(message, meter) };
    let named = REASONING.iter().filter_map(|name| fields.get(*name));
    let reasoning = named.into_iter().find(|value| !value.is_null());
    let reasoning = reasoning.map(|value| Value::client(value, meter)).transpose()?;
    let mut dict = Dict::default();
    if let Some(reasoning) = &reasoning {
        dict.insert(Value::own("thinking"), reasoning.clone())?;
    }
    insert_all(&mut dict, fields, meter, &mut |name, value| match (name, value) {
        ("role", Json::String(role)) if ROLES.contains(&role.as_str()) => {
            Ok(Some(Value::own(role)))
        }
        ("tool_calls", Json::Array(calls)) => {
            let calls = calls.iter().map(|call| tool_call(call, meter));
            Value::list(calls.collect::<Outcome<_>>()?).map(Some)
        }
        ("function_call", Json::Object(_)) => tool_call(value, meter).map(Some),
        _ => Ok(None),
    })?;
    if let Some(reasoning) = reasoning {
        dict.insert(Value::own("reasoning_content"), reasoning)?;
    }
    Ok(Value::Dict(Rc::new(dict)))
}

/// A call, or its function: `arguments` arrive as JSON in a string and are an object to templates.
fn tool_call(call: &Json, meter: &Meter) -> Outcome<Value> {
    let Json::Object(fields) = call else { return Value::client(call, meter) };
    let mut dict = Dict::default();
    insert_all(&mut dict, fields, meter, &mut |name, value| match (name, value) {
        ("function", Json::Object(_)) => tool_call(value, meter).map(Some),
        ("arguments", Json::String(text)) => object(text, meter),
        _ => Ok(None),
    })?;
    Ok(Value::Dict(Rc::new(dict)))
}

/// Inserts what `special` makes of each field, or what it is.
fn insert_all(
    dict: &mut Dict,
    fields: &Map<String, Json>,
    meter: &Meter,
    special: &mut dyn FnMut(&str, &Json) -> Outcome<Option<Value>>,
) -> Outcome<()> {
    meter.items(2 * fields.len())?;
    for (name, value) in fields {
        let made = match special(name, value)? {
            Some(made) => made,
            None => Value::client(value, meter)?,
        };
        dict.insert(Value::Text(Text::client(name)), made)?;
    }
    Ok(())
}
