//! Items as the messages of a chat: what the assistant thought, said and called at once is one message.
//!
//! Next: `options.rs`.

use serde_json::{Value, json};

/// The messages of a chat. What a system says at the beginning is one message: not every template
/// takes two.
pub(super) fn messages(instructions: Option<&str>, items: &[Value]) -> Vec<Value> {
    let mut told = Vec::new();
    if let Some(text) = instructions.filter(|text| !text.is_empty()) {
        told.push(json!({ "role": "system", "content": [{ "type": "text", "text": text }] }));
    }
    for item in items {
        match item["type"].as_str().unwrap_or_default() {
            "message" => message(&mut told, item),
            "function_call" => {
                let function = json!({ "name": item["name"], "arguments": item["arguments"] });
                let call =
                    json!({ "id": item["call_id"], "type": "function", "function": function });
                let turn = assistant(&mut told, |_| true);
                match turn["tool_calls"].as_array_mut() {
                    Some(calls) => calls.push(call),
                    None => turn["tool_calls"] = json!([call]),
                }
            }
            "function_call_output" => {
                let (id, content) = (&item["call_id"], &item["output"]);
                told.push(json!({ "role": "tool", "tool_call_id": id, "content": content }));
            }
            "reasoning" => {
                let texts = |name: &str| -> String {
                    let parts = item[name].as_array().into_iter().flatten();
                    parts.filter_map(|part| part["text"].as_str()).collect()
                };
                let thought = Some(texts("content")).filter(|thought| !thought.is_empty());
                let thought = thought.unwrap_or_else(|| texts("summary"));
                // One that is encrypted can be read by who has written it only.
                if !thought.is_empty() {
                    let turn = json!({ "role": "assistant", "content": [] });
                    told.push(turn);
                    assistant(&mut told, |_| true)["reasoning_content"] = thought.into();
                }
            }
            _ => {}
        }
    }
    told
}

fn message(told: &mut Vec<Value>, item: &Value) {
    let content = &item["content"];
    match item["role"].as_str().unwrap_or_default() {
        "assistant" => {
            let is_new =
                |turn: &Value| turn["tool_calls"].is_null() && turn["content"] == json!([]);
            assistant(told, is_new)["content"] = content.clone();
        }
        "system" | "developer" if told.len() == 1 && told[0]["role"] == "system" => {
            if let (Some(first), Some(more)) =
                (told[0]["content"].as_array_mut(), content.as_array())
            {
                first.extend(more.iter().cloned());
            }
        }
        role => told.push(json!({ "role": role, "content": content })),
    }
}

/// The assistant's message at the end, where it may take more; a new one otherwise.
fn assistant(told: &mut Vec<Value>, may: impl Fn(&Value) -> bool) -> &mut Value {
    let goes_on = told.last().is_some_and(|last| last["role"] == "assistant" && may(last));
    if !goes_on {
        told.push(json!({ "role": "assistant", "content": [] }));
    }
    let last = told.len() - 1;
    &mut told[last]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_at_once_is_one_message() {
        let part = |text: &str| json!({ "type": "input_text", "text": text });
        let message = |role: &str, text: &str| json!({ "type": "message", "role": role, "content": [part(text)] });
        let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": "{}" });
        let items = [
            message("developer", "b"),
            message("user", "c"),
            json!({ "type": "reasoning", "summary": [], "content": [{ "text": "Hm." }] }),
            message("assistant", "d"),
            call("1"),
            call("2"),
            json!({ "type": "function_call_output", "call_id": "1", "output": "e" }),
            json!({ "type": "reasoning", "summary": [{ "text": "So." }] }),
            message("assistant", "f"),
            message("assistant", "g"),
            json!({ "type": "reasoning", "summary": [], "encrypted_content": "x" }),
        ];
        let called = |id: &str| {
            let function = json!({ "name": "f", "arguments": "{}" });
            json!({ "id": id, "type": "function", "function": function })
        };
        let text = json!({ "type": "text", "text": "a" });
        assert_eq!(
            messages(Some("a"), &items),
            [
                json!({ "role": "system", "content": [text, part("b")] }),
                json!({ "role": "user", "content": [part("c")] }),
                json!({ "role": "assistant", "content": [part("d")], "reasoning_content": "Hm.",
                    "tool_calls": [called("1"), called("2")] }),
                json!({ "role": "tool", "tool_call_id": "1", "content": "e" }),
                json!({ "role": "assistant", "content": [part("f")], "reasoning_content": "So." }),
                json!({ "role": "assistant", "content": [part("g")] }),
            ]
        );
    }
}
