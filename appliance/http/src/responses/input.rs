//! The items of a body's `input`, as they are kept: every one checked, and with an id.
//!
//! What they mean to a chat: `history.rs`. Next: `history.rs`.

use serde_json::{Map, Value, json};

use crate::access::random_hex;
use crate::fault::Fault;
use crate::places::{Members, known, object, refused, text};

/// Items that one input may name instead of bringing them: each is read again.
const REFERENCES_MAX: usize = 64;

/// The items of an input. `find` gives the kept item of an id.
pub(super) fn items(
    input: Value,
    mut find: impl FnMut(&str) -> Result<Option<Value>, Fault>,
) -> Result<Vec<Value>, Fault> {
    let items = match input {
        Value::String(text) => vec![json!({ "role": "user", "content": text })],
        Value::Array(items) => items,
        _ => return Err(Fault::field("input", "must be a string or a list of items")),
    };
    let mut references = 0;
    let of_list = |(i, item): (usize, Value)| {
        let at = format!("input[{i}]");
        let item = object(&at, item)?;
        let kind = match item.get("type") {
            None | Some(Value::Null) if item.contains_key("role") => "message".to_owned(),
            None | Some(Value::Null) if item.contains_key("id") => "item_reference".to_owned(),
            _ => text(&at, &item, "type")?,
        };
        if kind != "item_reference" {
            return item_of(&at, kind, item);
        }
        references += 1;
        if references > REFERENCES_MAX {
            let what = format!("at most {REFERENCES_MAX} items by reference; send the item itself");
            return Err(Fault::field(&at, what));
        }
        let what = "no item of this id is kept here; send the item itself";
        let found = find(&text(&at, &item, "id")?)?;
        found.ok_or_else(|| Fault::field(&format!("{at}.id"), what))
    };
    items.into_iter().enumerate().map(of_list).collect()
}

fn item_of(at: &str, kind: String, mut item: Members) -> Result<Value, Fault> {
    // What only tells how far an answer was.
    item.remove("status");
    let prefix = match kind.as_str() {
        "message" => {
            message(at, &mut item)?;
            "msg"
        }
        "function_call" => {
            known(at, &item, &["type", "id", "call_id", "name", "arguments"])?;
            text(at, &item, "call_id")?;
            text(at, &item, "name")?;
            let arguments = text(at, &item, "arguments")?;
            let is_object = serde_json::from_str::<Map<String, Value>>(&arguments);
            if let Err(error) = is_object
                && !arguments.trim().is_empty()
            {
                let what = format!("must be the text of a JSON object: {error}");
                return Err(Fault::field(&format!("{at}.arguments"), what));
            }
            "fc"
        }
        "function_call_output" => {
            known(at, &item, &["type", "id", "call_id", "output"])?;
            text(at, &item, "call_id")?;
            let output = item.remove("output").unwrap_or_default();
            let output = match output {
                Value::String(text) => text.into(),
                output => parts(&format!("{at}.output"), output, "input_text")?.into(),
            };
            item.insert("output".to_owned(), output);
            "fco"
        }
        "reasoning" => {
            known(at, &item, &["type", "id", "summary", "content", "encrypted_content"])?;
            for name in ["summary", "content"] {
                for (i, part) in list(at, &item, name)?.iter().enumerate() {
                    let at = format!("{at}.{name}[{i}]");
                    let part = part.as_object();
                    let part = part.ok_or_else(|| Fault::field(&at, "must be an object"))?;
                    text(&at, part, "text")?;
                }
            }
            "rs"
        }
        other => return Err(refused(&format!("{at}.type"), other)),
    };
    if !item.get("id").is_some_and(Value::is_string) {
        item.insert("id".to_owned(), format!("{prefix}_{}", random_hex()).into());
    }
    item.insert("type".to_owned(), kind.into());
    item.insert("status".to_owned(), "completed".into());
    Ok(item.into())
}

/// A message, whose content becomes a list of parts.
fn message(at: &str, item: &mut Members) -> Result<(), Fault> {
    // The phase of an answer changes nothing: templates have no word for it.
    known(at, item, &["type", "id", "role", "content", "phase"])?;
    let part = match text(at, item, "role")?.as_str() {
        "assistant" => "output_text",
        "user" | "system" | "developer" => "input_text",
        _ => {
            let what = "must be \"user\", \"assistant\", \"system\" or \"developer\"";
            return Err(Fault::field(&format!("{at}.role"), what));
        }
    };
    let content = item.remove("content").unwrap_or_default();
    let content = parts(&format!("{at}.content"), content, part)?;
    item.insert("content".to_owned(), content.into());
    Ok(())
}

/// The text parts of a content; other kinds are refused by name.
fn parts(at: &str, content: Value, plain: &str) -> Result<Vec<Value>, Fault> {
    let parts = match content {
        Value::String(text) => vec![json!({ "type": plain, "text": text })],
        Value::Array(parts) => parts,
        _ => return Err(Fault::field(at, "must be a string or a list of parts")),
    };
    let of_list = |(j, part): (usize, Value)| {
        let at = format!("{at}[{j}]");
        let mut part = object(&at, part)?;
        let kind = match text(&at, &part, "type")?.as_str() {
            "refusal" => {
                known(&at, &part, &["type", "refusal"])?;
                text(&at, &part, "refusal")?;
                return Ok(part.into());
            }
            "text" => plain.to_owned(),
            kind @ ("input_text" | "output_text") => kind.to_owned(),
            other => return Err(refused(&format!("{at}.type"), other)),
        };
        // What an answer brought beside its text.
        known(&at, &part, &["type", "text", "annotations", "logprobs"])?;
        text(&at, &part, "text")?;
        if kind == "output_text" {
            part.entry("annotations").or_insert_with(|| json!([]));
        }
        part.insert("type".to_owned(), kind.into());
        Ok(part.into())
    };
    parts.into_iter().enumerate().map(of_list).collect()
}

/// A member that is a list, or not there.
fn list<'a>(at: &str, item: &'a Members, name: &str) -> Result<&'a [Value], Fault> {
    match item.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Fault::field(&format!("{at}.{name}"), "must be a list")),
    }
}
