//! Tools, and what else a body says of how to answer, in the form that chats have.
//!
//! Next: `shapes.rs`.

use gimbal_engine::{Service, Wanted};
use serde_json::{Value, json};

use super::history::known;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::openai::{Conversation, ToolFields, has_variable, reasoning};
use crate::places::{Members, flag, object, refused, text};
use crate::structured;
use crate::typed::{Flag, Tree};

/// Tools, and which of them must be called.
pub(super) fn tools(tools: Option<Tree>, choice: Option<Tree>) -> Result<ToolFields, Fault> {
    let (tools, choice) = (tools.map(of_client).transpose()?, choice.map(chosen).transpose()?);
    let (tool_choice, parallel_tool_calls) = choice.unzip();
    Ok(ToolFields { tools, tool_choice, parallel_tool_calls, ..ToolFields::default() })
}

/// Tools of the client's own; those that a server would run are refused by name.
fn of_client(Tree { value, bytes }: Tree) -> Result<Tree, Fault> {
    let Value::Array(tools) = value else { return Err(Fault::field("tools", "must be a list")) };
    let tool = |(i, tool): (usize, Value)| {
        let at = format!("tools[{i}]");
        let mut tool = object(&at, tool)?;
        match tool.remove("type") {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if kind == "custom" => {}
            Some(Value::String(kind)) => return Err(refused(&format!("{at}.type"), &kind)),
            Some(_) => return Err(Fault::field(&format!("{at}.type"), "must be \"custom\"")),
        }
        // They change no answer: a call always comes in pieces, and is always direct.
        for (name, neutral) in
            [("defer_loading", json!(false)), ("allowed_callers", json!(["direct"]))]
        {
            if tool.get(name) == Some(&neutral) {
                tool.remove(name);
            }
        }
        tool.remove("eager_input_streaming");
        known(&at, &tool, &["name", "description", "input_schema", "strict"])?;
        let mut function = Members::new();
        for (name, theirs) in [
            ("name", "name"),
            ("description", "description"),
            ("strict", "strict"),
            ("parameters", "input_schema"),
        ] {
            let value = tool.remove(theirs).filter(|value| !value.is_null());
            if value.is_none() && ["name", "input_schema"].contains(&theirs) {
                return Err(Fault::field(&format!("{at}.{theirs}"), "is missing"));
            }
            function.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(json!({ "type": "function", "function": function }))
    };
    let value = tools.into_iter().enumerate().map(tool).collect::<Result<_, _>>()?;
    Ok(Tree { value, bytes })
}

/// Which tool must be called, and whether several may.
fn chosen(Tree { value, bytes }: Tree) -> Result<(Tree, Flag), Fault> {
    const FIELD: &str = "tool_choice";
    let choice = object(FIELD, value)?;
    known(FIELD, &choice, &["type", "name", "disable_parallel_tool_use"])?;
    let value = match choice.get("type").and_then(Value::as_str) {
        Some("auto") => "auto".into(),
        Some("none") => "none".into(),
        Some("any") => "required".into(),
        Some("tool") => {
            let name = text(FIELD, &choice, "name")?;
            json!({ "type": "function", "function": { "name": name } })
        }
        _ => {
            let what = "must be \"auto\", \"any\", \"tool\" or \"none\"";
            return Err(Fault::field("tool_choice.type", what));
        }
    };
    let single = flag(FIELD, &choice, "disable_parallel_tool_use")?;
    Ok((Tree { value, bytes }, Flag(!single)))
}

/// `thinking`: a variable of the template where it has one. A wish that nothing here can meet is told.
pub(super) fn think(
    thinking: Option<Tree>,
    service: &Service,
    conversation: &mut Conversation,
    fields: &mut Fields,
) -> Result<(), Fault> {
    let Some(Tree { value, bytes }) = thinking else { return Ok(()) };
    let thinking = object("thinking", value)?;
    known("thinking", &thinking, &["type", "budget_tokens", "display"])?;
    let wanted = match thinking.get("type").and_then(Value::as_str) {
        Some("enabled" | "adaptive") => true,
        Some("disabled") => false,
        _ => {
            let what = "must be \"enabled\", \"adaptive\" or \"disabled\"";
            return Err(Fault::field("thinking.type", what));
        }
    };
    if has_variable(service, "enable_thinking") {
        conversation.enable_thinking = Some(Tree { value: wanted.into(), bytes });
    } else if wanted != reasoning(service).is_some() {
        fields.ignore("thinking");
    }
    for name in ["budget_tokens", "display"] {
        if thinking.get(name).is_some_and(|value| !value.is_null()) {
            fields.ignore(&format!("thinking.{name}"));
        }
    }
    Ok(())
}

/// `output_config`: how much effort, a variable of the template; and a schema, a grammar.
pub(super) fn output(
    config: Option<Tree>,
    service: &Service,
    conversation: &mut Conversation,
    fields: &mut Fields,
) -> Result<Option<Wanted>, Fault> {
    const FIELD: &str = "output_config";
    let Some(Tree { value, bytes }) = config else { return Ok(None) };
    let mut config = object(FIELD, value)?;
    known(FIELD, &config, &["effort", "format"])?;
    if let Some(effort) = config.remove("effort").filter(|effort| !effort.is_null()) {
        if !effort.is_string() {
            return Err(Fault::field("output_config.effort", "must be a string"));
        }
        if has_variable(service, "reasoning_effort") {
            conversation.reasoning_effort = Some(Tree { value: effort, bytes });
        } else {
            fields.ignore("output_config.effort");
        }
    }
    let at = "output_config.format";
    let format = match config.remove("format") {
        None | Some(Value::Null) => return Ok(None),
        Some(format) => object(at, format)?,
    };
    known(at, &format, &["type", "schema"])?;
    if format.get("type").is_none_or(|kind| kind != "json_schema") {
        return Err(Fault::field("output_config.format.type", "must be \"json_schema\""));
    }
    let schema = format.get("schema").unwrap_or(&Value::Null);
    let source = structured::schema("output_config.format.schema", schema)?;
    Ok(Some(Wanted { field: FIELD, source: source.into() }))
}
