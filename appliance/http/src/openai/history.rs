//! Calls and results in a conversation's earlier messages, as templates expect them.
//!
//! Clients send arguments as text; templates write them as JSON again, so they get the value. Next:
//! `tools.rs`.

use serde_json::{Map, Value, json};

use crate::fault::Fault;

/// Brings the calls of a message, and other names of calls, results and thoughts, into the form that
/// templates know.
pub(super) fn calls(i: usize, message: &mut Map<String, Value>) -> Result<(), Fault> {
    if message.get("role").is_some_and(|role| role == "function") {
        message.insert("role".into(), "tool".into());
    }
    // vLLM's name of it; templates know the other.
    if let Some(thought) = message.remove("reasoning").filter(Value::is_string) {
        message.entry("reasoning_content").or_insert(thought);
    }
    if let Some(function) = message.remove("function_call").filter(|call| !call.is_null()) {
        let call = json!({ "type": "function", "function": function });
        message.entry("tool_calls").or_insert_with(|| json!([call]));
    }
    let all = match message.get_mut("tool_calls") {
        None => return Ok(()),
        Some(Value::Array(all)) if !all.is_empty() => all,
        // Some clients send an empty list, or null, with every message.
        Some(Value::Null | Value::Array(_)) => {
            message.remove("tool_calls");
            return Ok(());
        }
        Some(_) => {
            return Err(Fault::field(&format!("messages[{i}].tool_calls"), "must be a list"));
        }
    };
    for (j, call) in all.iter_mut().enumerate() {
        let field = |name: &str| format!("messages[{i}].tool_calls[{j}].function{name}");
        let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) else {
            return Err(Fault::field(&field(""), "must be an object"));
        };
        if !function.get("name").is_some_and(Value::is_string) {
            return Err(Fault::field(&field(".name"), "must be a string"));
        }
        let arguments = function.entry("arguments").or_insert_with(|| json!({}));
        if let Value::String(text) = arguments {
            let text = if text.trim().is_empty() { "{}" } else { text.as_str() };
            let value: Result<Value, _> = serde_json::from_str(text);
            *arguments = value.map_err(|error| {
                Fault::field(&field(".arguments"), format!("is no JSON: {error}"))
            })?;
        }
    }
    Ok(())
}

/// For templates that know no tools: they are told in words, and so are calls and their results.
pub(super) fn in_words(messages: &mut Vec<Value>, words: &str) {
    for message in messages.iter_mut() {
        if message["role"] == "tool" {
            let name = message["name"].as_str().map(|name| format!(" of {name}"));
            let content = message["content"].as_str().unwrap_or_default();
            let told = format!("The result{}: {content}", name.unwrap_or_default());
            *message = json!({ "role": "user", "content": told });
        } else if let Some(calls) = message.get("tool_calls").and_then(Value::as_array) {
            let call = |call: &Value| call["function"].to_string();
            let calls: Vec<String> = calls.iter().map(call).collect();
            let said = message["content"].as_str().filter(|said| !said.is_empty());
            let all: Vec<&str> = said.into_iter().chain(calls.iter().map(String::as_str)).collect();
            *message = json!({ "role": "assistant", "content": all.join("\n") });
        }
    }
    let first = messages.first_mut().filter(|message| message["role"] == "system");
    match first.map(|message| &mut message["content"]) {
        Some(Value::String(content)) => *content = format!("{content}\n\n{words}"),
        _ => messages.insert(0, json!({ "role": "system", "content": words })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brought(message: Value) -> Result<Value, String> {
        let Value::Object(mut message) = message else { panic!("a message is an object") };
        calls(3, &mut message).map(|()| Value::Object(message)).map_err(|fault| fault.message)
    }

    #[test]
    fn arguments_become_values() {
        let call = |arguments: Value| {
            let function = json!({ "name": "f", "arguments": arguments });
            json!({ "role": "assistant", "tool_calls": [{ "id": "1", "function": function }] })
        };
        for (sent, expect) in [
            (json!("{\"a\": 1}"), json!({ "a": 1 })),
            (json!({ "a": 1 }), json!({ "a": 1 })),
            (json!(""), json!({})),
        ] {
            assert_eq!(brought(call(sent)), Ok(call(expect)));
        }
        let by = |name: &str| json!({ "role": "assistant", name: "Hm." });
        assert_eq!(brought(by("reasoning")), Ok(by("reasoning_content")));
        let wrong = brought(call(json!("{"))).expect_err("it is broken");
        assert!(wrong.starts_with("messages[3].tool_calls[0].function.arguments: is no JSON"));
        let older = json!({ "role": "assistant", "function_call": { "name": "f" } });
        let newer = brought(older).expect("fine");
        assert_eq!(newer["tool_calls"][0]["function"], json!({ "name": "f", "arguments": {} }));
        let result = brought(json!({ "role": "function", "name": "f", "content": "1" }));
        assert_eq!(result.expect("fine")["role"], "tool");
        for nothing in [json!(null), json!([])] {
            let message = json!({ "role": "assistant", "content": "x", "tool_calls": nothing });
            let expect = json!({ "role": "assistant", "content": "x" });
            assert_eq!(brought(message), Ok(expect));
        }
    }

    #[test]
    fn a_template_without_tools_is_told_in_words() {
        let calls = json!([{ "function": { "name": "f", "arguments": { "a": 1 } } }]);
        let mut messages = vec![
            json!({ "role": "user", "content": "Do." }),
            json!({ "role": "assistant", "content": "", "tool_calls": calls }),
            json!({ "role": "tool", "name": "f", "content": "7" }),
        ];
        in_words(&mut messages, "There is f.");
        let told = [
            json!({ "role": "system", "content": "There is f." }),
            json!({ "role": "user", "content": "Do." }),
            json!({ "role": "assistant", "content": "{\"name\":\"f\",\"arguments\":{\"a\":1}}" }),
            json!({ "role": "user", "content": "The result of f: 7" }),
        ];
        assert_eq!(messages, told);
        in_words(&mut messages, "And g.");
        assert_eq!(messages[0]["content"], "There is f.\n\nAnd g.");
    }
}
