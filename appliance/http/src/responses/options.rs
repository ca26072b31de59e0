//! Tools, and what else a body says of how to answer, in the form that chats have and in the form that
//! the answer repeats.
//!
//! Next: `shapes.rs`.

use gimbal_engine::{Service, Wanted};
use gimbal_text::GrammarSource;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::fields::Fields;
use crate::openai::{Conversation, ToolFields, has_variable};
use crate::places::{Members, known, object, refused, text};
use crate::structured;
use crate::typed::{Flag, Tree};

/// What `include` may name. All but the log probabilities belong to what is refused, or to thoughts
/// that are hidden; here none are.
const INCLUDABLE: [&str; 8] = [
    LOGPROBS,
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
];
const LOGPROBS: &str = "message.output_text.logprobs";
/// Notes of a client, as OpenAI bounds them.
const NOTES_MAX: usize = 16;
const NOTE_NAME_MAX: usize = 64;
const NOTE_LETTERS_MAX: usize = 512;

/// Tools as the answer repeats them, and as a chat has them.
pub(super) fn tools(
    tools: Option<Tree>,
    choice: Option<Tree>,
    parallel: Option<Flag>,
) -> Result<(Vec<Value>, ToolFields), Fault> {
    let mut told = Vec::new();
    let mut asked = None;
    if let Some(Tree { value, bytes }) = tools {
        let Value::Array(all) = value else {
            return Err(Fault::field("tools", "must be a list"));
        };
        let mut functions = Vec::new();
        for (i, tool) in all.into_iter().enumerate() {
            let (repeated, function) = of_client(&format!("tools[{i}]"), tool)?;
            told.push(repeated);
            functions.push(function);
        }
        asked = Some(Tree { value: functions.into(), bytes: 2 * bytes });
    }
    let fields = ToolFields {
        tools: asked,
        tool_choice: choice.map(chosen).transpose()?,
        parallel_tool_calls: parallel,
        ..ToolFields::default()
    };
    Ok((told, fields))
}

/// A function; tools that a server would run are refused by name.
fn of_client(at: &str, tool: Value) -> Result<(Value, Value), Fault> {
    let mut tool = object(at, tool)?;
    match text(at, &tool, "type")?.as_str() {
        "function" => {}
        kind => return Err(refused(&format!("{at}.type"), kind)),
    }
    // All of them are told at once.
    if tool.get("defer_loading").is_some_and(|defer| defer == false) {
        tool.remove("defer_loading");
    }
    known(at, &tool, &["type", "name", "description", "parameters", "strict"])?;
    text(at, &tool, "name")?;
    let mut function = Members::new();
    for name in ["name", "description", "parameters", "strict"] {
        let value = tool.entry(name).or_insert(Value::Null);
        if !value.is_null() {
            function.insert(name.to_owned(), value.clone());
        }
    }
    Ok((tool.into(), json!({ "type": "function", "function": function })))
}

/// Which tool must be called.
fn chosen(Tree { value, bytes }: Tree) -> Result<Tree, Fault> {
    const FIELD: &str = "tool_choice";
    let value = match value {
        Value::Object(choice) => match text(FIELD, &choice, "type")?.as_str() {
            "function" => {
                known(FIELD, &choice, &["type", "name"])?;
                let name = text(FIELD, &choice, "name")?;
                json!({ "type": "function", "function": { "name": name } })
            }
            kind => return Err(refused("tool_choice.type", kind)),
        },
        word => word,
    };
    Ok(Tree { value, bytes })
}

/// `text`: the grammar it asks for, and the object as the answer repeats it.
pub(super) fn format(said: Option<Tree>) -> Result<(Option<Wanted>, Value), Fault> {
    let mut said = match said {
        None => Members::new(),
        Some(tree) => object("text", tree.value)?,
    };
    if said.get("verbosity").is_some_and(|verbosity| verbosity == "medium") {
        said.remove("verbosity");
    }
    known("text", &said, &["format"])?;
    let at = "text.format";
    let format = match said.remove("format") {
        None | Some(Value::Null) => json!({ "type": "text" }),
        Some(format) => object(at, format)?.into(),
    };
    let source = match &format {
        Value::Object(members) => match text(at, members, "type")?.as_str() {
            "text" => known(at, members, &["type"]).map(|()| None)?,
            "json_object" => {
                known(at, members, &["type"]).map(|()| Some(GrammarSource::JsonObject))?
            }
            "json_schema" => {
                known(at, members, &["type", "name", "description", "schema", "strict"])?;
                let schema = members.get("schema").unwrap_or(&Value::Null);
                Some(structured::schema("text.format.schema", schema)?)
            }
            _ => {
                let what = "must be \"text\", \"json_object\" or \"json_schema\"";
                return Err(Fault::field("text.format.type", what));
            }
        },
        _ => None,
    };
    let wanted = source.map(|source| Wanted { field: "text", source: source.into() });
    Ok((wanted, json!({ "format": format, "verbosity": "medium" })))
}

/// `reasoning`: how much effort, as chats say it. A summary is told as without effect: thoughts are
/// whole.
pub(super) fn reasoning(
    said: Option<Tree>,
    service: &Service,
    conversation: &mut Conversation,
    fields: &mut Fields,
) -> Result<Value, Fault> {
    let Some(Tree { value, bytes }) = said else {
        return Ok(json!({ "effort": null, "summary": null }));
    };
    let said = object("reasoning", value)?;
    known("reasoning", &said, &["effort", "summary", "generate_summary"])?;
    for name in ["effort", "summary", "generate_summary"] {
        if said.get(name).is_some_and(|value| !value.is_null()) {
            text("reasoning", &said, name)?;
            if name != "effort" {
                fields.ignore(&format!("reasoning.{name}"));
            }
        }
    }
    let effort = said.get("effort").cloned().unwrap_or_default();
    let tree = |value: Value| Some(Tree { value, bytes });
    if effort == "none" && has_variable(service, "enable_thinking") {
        conversation.enable_thinking = tree(false.into());
    } else if has_variable(service, "reasoning_effort") && !effort.is_null() {
        conversation.reasoning_effort = tree(effort.clone());
    } else if !effort.is_null() {
        fields.ignore("reasoning.effort");
    }
    Ok(json!({ "effort": effort, "summary": said.get("summary") }))
}

/// `include`: whether log probabilities are wanted.
pub(super) fn include(said: &[String]) -> Result<bool, Fault> {
    if let Some(i) = said.iter().position(|name| !INCLUDABLE.contains(&name.as_str())) {
        let what = format!("must be one of {}", INCLUDABLE.join(", "));
        return Err(Fault::field(&format!("include[{i}]"), what));
    }
    Ok(said.iter().any(|name| name == LOGPROBS))
}

/// `metadata`: a client's own notes, repeated in the answer.
pub(super) fn metadata(said: Option<Tree>) -> Result<Value, Fault> {
    const FIELD: &str = "metadata";
    let notes = said.map(|tree| object(FIELD, tree.value)).transpose()?.unwrap_or_default();
    let fits = |name: &str, note: &Value| {
        let letters = note.as_str().map(|note| note.chars().count());
        name.chars().count() <= NOTE_NAME_MAX && letters.is_some_and(|n| n <= NOTE_LETTERS_MAX)
    };
    if notes.len() > NOTES_MAX || notes.iter().any(|(name, note)| !fits(name, note)) {
        let what = format!(
            "must have at most {NOTES_MAX} members, with names of at most {NOTE_NAME_MAX} and texts \
             of at most {NOTE_LETTERS_MAX} letters"
        );
        return Err(Fault::field(FIELD, what));
    }
    Ok(notes.into())
}
