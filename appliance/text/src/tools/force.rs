//! A grammar of which only calls come: of a named tool, or of any.
//!
//! What it lets through, `ToolParser` reads as calls whose arguments follow their schemas. Formats
//! whose arguments are no JSON are made to write JSON, which their readers know too. Text before a
//! call is not let through. Next: `either.rs`.

use std::fmt::Write;

use llguidance::api::ParserLimits;
use llguidance::{GrammarBuilder, JsonCompileOptions};
use serde_json::{Map, Value, json};

use super::format::{
    CALL, DEEPSEEK, DEEPSEEK_CALL_END, DEEPSEEK_END, MISTRAL, TOKEN, TOKEN_END, ToolFormat,
};
use super::named::{DEEPSEEK_CALL, DEEPSEEK_SEPARATOR};
use super::spec::ToolSpec;
use crate::grammar::{GrammarError, GrammarSource, ascii_patterns, check_cost};

/// Calls of one answer: small models would repeat them until their tokens are spent.
const CALLS_MAX: usize = 16;

/// Which tools must be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// At least one, whichever.
    Required,
    /// The one of that name, once.
    Named(String),
}

/// The text of a call and of what stands around it.
struct Frame {
    open: String,
    /// Before the name.
    head: String,
    /// Between the name and the arguments.
    middle: &'static str,
    tail: String,
    between: &'static str,
    close: &'static str,
}

/// The grammar of an answer that calls tools as `choice` says; one call unless `is_parallel`.
/// `control` knows the ids of a model's control tokens by their texts: a marker that is one is asked
/// for as that token.
///
/// # Errors
/// The path of a tool whose arguments cannot be forced, and why.
pub fn grammar(
    format: ToolFormat,
    tools: &[ToolSpec],
    choice: &ToolChoice,
    is_parallel: bool,
    control: &dyn Fn(&str) -> Option<u32>,
) -> Result<GrammarSource, GrammarError> {
    let is_chosen = |tool: &ToolSpec| match choice {
        ToolChoice::Required => true,
        ToolChoice::Named(name) => tool.name == *name,
    };
    let chosen: Vec<_> = tools.iter().enumerate().filter(|(_, tool)| is_chosen(tool)).collect();
    if chosen.is_empty() {
        return Err(GrammarError(match choice {
            ToolChoice::Required => "a call is required, but there are no tools".to_owned(),
            ToolChoice::Named(name) => format!("there is no tool {name:?}"),
        }));
    }
    let single = matches!(choice, ToolChoice::Named(_)) || !is_parallel;
    rules(format, "start", &chosen, single, control).map(GrammarSource::Lark)
}

/// Rules in Lark's form, of which `start` is one call, or several.
pub(super) fn rules(
    format: ToolFormat,
    start: &str,
    chosen: &[(usize, &ToolSpec)],
    single: bool,
    control: &dyn Fn(&str) -> Option<u32>,
) -> Result<String, GrammarError> {
    let frame = frame(format, control);
    let text = |text: &str| literal(text, format, control);
    let more = match single {
        true => String::new(),
        false => format!(" ({}call){{0,{}}}", text(frame.between), CALLS_MAX - 1),
    };
    let (open, close) = (text(&frame.open), text(frame.close));
    let mut lark = String::new();
    line(&mut lark, &format!("{start}: {open}call{more} {close}"));
    let calls: Vec<String> = chosen.iter().map(|(index, _)| format!("call_{index}")).collect();
    line(&mut lark, &format!("call: {}", calls.join(" | ")));
    for (index, tool) in chosen {
        let begin = text(&format!("{}{}{}", frame.head, tool.name, frame.middle));
        let end = text(&frame.tail);
        match &tool.parameters {
            None => line(&mut lark, &format!("call_{index}: {begin}\"{{}}\" {end}")),
            Some(schema) => {
                let schema = arguments(schema);
                check(&format!("tools[{index}].function.parameters"), &schema)?;
                line(&mut lark, &format!("call_{index}: {begin}arguments_{index} {end}"));
                line(&mut lark, &format!("arguments_{index}: %json {schema}"));
            }
        }
    }
    Ok(lark)
}

pub(super) fn line(lark: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(lark, "{}", line.trim_end());
}

fn frame(format: ToolFormat, control: &dyn Fn(&str) -> Option<u32>) -> Frame {
    let has = |token: &str| control(token).is_some();
    let arguments = "\", \"arguments\": ";
    let object = Frame {
        open: String::new(),
        head: "{\"name\": \"".to_owned(),
        middle: arguments,
        tail: "}".to_owned(),
        between: ", ",
        close: "",
    };
    let list =
        |marker: &str, close| Frame { open: format!("{marker}["), close, ..frame_of(&object) };
    match format {
        ToolFormat::Generic => Frame { between: "\n", ..object },
        ToolFormat::Hermes | ToolFormat::Qwen3Xml => Frame {
            head: format!("{CALL}\n{{\"name\": \""),
            tail: "}\n</tool_call>".to_owned(),
            between: "\n",
            ..object
        },
        ToolFormat::Llama3Json => Frame { middle: "\", \"parameters\": ", between: "; ", ..object },
        ToolFormat::Pythonic => list("", "]"),
        // Models that know the token were taught the newer form.
        ToolFormat::Mistral if has("[ARGS]") => Frame {
            head: MISTRAL.to_owned(),
            middle: "[ARGS]",
            tail: String::new(),
            between: "",
            ..object
        },
        ToolFormat::Mistral => list(MISTRAL, "]"),
        ToolFormat::DeepSeekV3 => Frame {
            open: DEEPSEEK.to_owned(),
            head: format!("{DEEPSEEK_CALL}function{DEEPSEEK_SEPARATOR}"),
            middle: "\n```json\n",
            tail: format!("\n```{DEEPSEEK_CALL_END}"),
            between: "\n",
            close: DEEPSEEK_END,
        },
        ToolFormat::DeepSeekV31 => Frame {
            open: DEEPSEEK.to_owned(),
            head: DEEPSEEK_CALL.to_owned(),
            middle: DEEPSEEK_SEPARATOR,
            tail: DEEPSEEK_CALL_END.to_owned(),
            between: "",
            close: DEEPSEEK_END,
        },
        ToolFormat::Granite => list(if has(TOKEN) { TOKEN } else { CALL }, "]"),
        ToolFormat::Phi4Mini if has(TOKEN) && has(TOKEN_END) => list(TOKEN, "]<|/tool_call|>"),
        ToolFormat::Phi4Mini => list("functools", "]"),
    }
}

fn frame_of(frame: &Frame) -> Frame {
    let (open, head, tail) = (frame.open.clone(), frame.head.clone(), frame.tail.clone());
    Frame { open, head, tail, ..*frame }
}

/// Text for Lark, markers that are control tokens as those; nothing, or with a blank behind it.
fn literal(text: &str, format: ToolFormat, control: &dyn Fn(&str) -> Option<u32>) -> String {
    let tokens = format.keeps().iter().filter_map(|token| Some((*token, control(token)?)));
    let tokens: Vec<(&str, u32)> = tokens.collect();
    let (mut out, mut rest) = (String::new(), text);
    while !rest.is_empty() {
        let found = tokens.iter().filter_map(|(token, id)| Some((rest.find(token)?, *token, *id)));
        let (at, token, id) = found.min().unwrap_or((rest.len(), "", 0));
        if at > 0 {
            out += &format!("{} ", json!(rest[..at]));
        }
        if !token.is_empty() {
            out += &format!("<[{id}]> ");
        }
        rest = &rest[at + token.len()..];
    }
    out
}

/// The schema of an object, closed where it does not say that it is open: llama.cpp does the same, as
/// models invent members where they may.
pub(super) fn arguments(schema: &Value) -> Value {
    const OPEN: [&str; 9] = [
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
        "$ref",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "minProperties",
    ];
    let mut schema: Map<String, Value> = schema.as_object().cloned().unwrap_or_default();
    schema.insert("type".to_owned(), json!("object"));
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let properties = schema.get("properties").and_then(Value::as_object);
    let is_known = properties.is_some_and(|properties| {
        let mut required = required.filter_map(Value::as_str);
        required.all(|name| properties.contains_key(name))
    });
    if is_known && !OPEN.iter().any(|key| schema.contains_key(*key)) {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    in_one_line(schema)
}

/// What a person would not read needs no indentation, and small models lose themselves in it.
pub(super) fn in_one_line(mut schema: Map<String, Value>) -> Value {
    ascii_patterns(&mut schema);
    schema.entry("x-guidance").or_insert_with(|| json!({ "whitespace_pattern": r"\x20" }));
    Value::Object(schema)
}

/// All schemas are compiled together later: which of them is wrong would not be told.
pub(super) fn check(place: &str, schema: &Value) -> Result<(), GrammarError> {
    let placed = |GrammarError(what)| GrammarError(format!("{place}: {what}"));
    check_cost(schema).map_err(placed)?;
    let builder = GrammarBuilder::new(None, ParserLimits::default());
    let compiled =
        JsonCompileOptions::default().json_to_llg_with_overrides(builder, schema.clone());
    compiled.map(|_| ()).map_err(|error| GrammarError(format!("{place}: {error}")))
}
