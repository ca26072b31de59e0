//! A grammar of answers that are calls, or JSON of a form: where tools may be called and the answer
//! must have that form otherwise.
//!
//! Next: `reasoning.rs`.

use serde_json::{Map, Value, json};

use super::ToolFormat;
use super::force::{arguments, check, in_one_line, line, rules};
use super::spec::ToolSpec;
use crate::grammar::{GrammarError, GrammarSource};

/// The grammar of an answer that calls tools or is `form`, which stands in `field`; `None` where `form`
/// is no JSON, or there are no tools. `control` as for a call that must come.
///
/// # Errors
/// The path of the schema that cannot be kept, and why.
pub fn grammar_or(
    format: ToolFormat,
    tools: &[ToolSpec],
    (field, form): (&str, &GrammarSource),
    is_parallel: bool,
    control: &dyn Fn(&str) -> Option<u32>,
) -> Result<Option<GrammarSource>, GrammarError> {
    let form = match form {
        GrammarSource::JsonObject => json!({ "type": "object" }),
        GrammarSource::JsonSchema(schema) => schema.clone(),
        _ => return Ok(None),
    };
    if tools.is_empty() {
        return Ok(None);
    }
    let form = match form {
        Value::Object(members) => in_one_line(members),
        // Anything, or nothing.
        other => other,
    };
    check(field, &form)?;
    let chosen: Vec<_> = tools.iter().enumerate().collect();
    let calls = match format {
        ToolFormat::Generic => as_json(&chosen, "arguments")?,
        ToolFormat::Llama3Json => as_json(&chosen, "parameters")?,
        _ => rules(format, "calls", &chosen, !is_parallel, control)?,
    };
    let mut lark = String::new();
    line(&mut lark, "start: calls | form");
    lark += &calls;
    line(&mut lark, &format!("form: %json {form}"));
    Ok(Some(GrammarSource::Lark(lark)))
}

/// One call as JSON of a schema. Where no mark stands before a call, it and the form begin alike, so
/// they must be made of the same words.
fn as_json(chosen: &[(usize, &ToolSpec)], arguments_name: &str) -> Result<String, GrammarError> {
    let mut lark = String::new();
    let names: Vec<String> = chosen.iter().map(|(index, _)| format!("call_{index}")).collect();
    line(&mut lark, &format!("calls: {}", names.join(" | ")));
    for (index, tool) in chosen {
        let mut inner = match &tool.parameters {
            Some(schema) => arguments(schema),
            None => json!({ "type": "object", "additionalProperties": false }),
        };
        let mut call = Map::new();
        if let Value::Object(inner) = &mut inner {
            inner.remove("x-guidance");
            // References lead there from the root.
            for name in ["$defs", "definitions"] {
                call.extend(inner.remove(name).map(|parts| (name.to_owned(), parts)));
            }
        }
        let properties = json!({ "name": { "const": tool.name }, arguments_name: inner });
        call.insert("type".to_owned(), "object".into());
        call.insert("properties".to_owned(), properties);
        call.insert("required".to_owned(), json!(["name", arguments_name]));
        call.insert("additionalProperties".to_owned(), false.into());
        let call = in_one_line(call);
        check(&format!("tools[{index}].function.parameters"), &call)?;
        line(&mut lark, &format!("call_{index}: %json {call}"));
    }
    Ok(lark)
}
