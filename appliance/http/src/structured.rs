//! What an answer must look like: the fields of OpenAI, vLLM, llama.cpp, TGI, LMI and SGLang that say
//! so, and the one grammar they mean.
//!
//! What a grammar allows stands in `gimbal-text`. Next: `stream.rs`.

use std::sync::Arc;

use gimbal_engine::Wanted;
use gimbal_text::GrammarSource;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::schemas;
use crate::typed::Tree;

/// The fields.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Structured {
    #[schema(schema_with = schemas::response_format)]
    response_format: Option<Tree>,
    #[schema(schema_with = schemas::object)]
    structured_outputs: Option<Tree>,
    #[schema(schema_with = schemas::written_schema)]
    guided_json: Option<Tree>,
    #[schema(schema_with = schemas::text)]
    guided_regex: Option<Tree>,
    #[schema(schema_with = schemas::texts)]
    guided_choice: Option<Tree>,
    #[schema(schema_with = schemas::text)]
    guided_grammar: Option<Tree>,
    #[schema(schema_with = schemas::text_or_object)]
    grammar: Option<Tree>,
    #[schema(schema_with = schemas::written_schema)]
    json_schema: Option<Tree>,
    #[schema(schema_with = schemas::text)]
    regex: Option<Tree>,
    #[schema(schema_with = schemas::text)]
    ebnf: Option<Tree>,
}

impl Structured {
    /// Bytes of the trees that were made of them.
    pub(crate) fn bytes(&self) -> usize {
        let of = |(_, tree): (&str, &Option<Tree>)| tree.as_ref().map_or(0, |tree| tree.bytes);
        self.fields().into_iter().map(of).sum()
    }

    /// The grammar they ask for; two that ask are a contradiction.
    pub(crate) fn wanted(&self) -> Result<Option<Wanted>, Fault> {
        let mut found: Option<Wanted> = None;
        for (field, tree) in self.fields() {
            let Some(Tree { value, .. }) = tree else { continue };
            let Some(source) = source(field, value)? else { continue };
            if let Some(Wanted { field: first, .. }) = found {
                let what = format!("not beside {first}: an answer has one grammar");
                return Err(Fault::field(field, what));
            }
            found = Some(Wanted { field, source: Arc::new(source) });
        }
        Ok(found)
    }

    fn fields(&self) -> [(&'static str, &Option<Tree>); 10] {
        [
            ("response_format", &self.response_format),
            ("structured_outputs", &self.structured_outputs),
            ("guided_json", &self.guided_json),
            ("guided_regex", &self.guided_regex),
            ("guided_choice", &self.guided_choice),
            ("guided_grammar", &self.guided_grammar),
            ("grammar", &self.grammar),
            ("json_schema", &self.json_schema),
            ("regex", &self.regex),
            ("ebnf", &self.ebnf),
        ]
    }
}

/// What a field asks for; nothing where its value is empty.
fn source(field: &'static str, value: &Value) -> Result<Option<GrammarSource>, Fault> {
    let is_nothing = match value {
        Value::String(text) => text.is_empty(),
        // An empty schema is one: anything.
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty() && !field.contains("json"),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
    };
    if is_nothing {
        return Ok(None);
    }
    match (field, value) {
        ("response_format", Value::Object(members)) => response_format(members),
        ("structured_outputs", Value::Object(members)) => structured_outputs(members).map(Some),
        // TGI's and LMI's form.
        ("grammar", Value::Object(members)) => typed("grammar", members).map(Some),
        ("response_format" | "structured_outputs", _) => {
            Err(Fault::field(field, "must be an object"))
        }
        ("guided_json" | "json_schema", value) => schema(field, value).map(Some),
        ("guided_choice", value) => choice(field, value).map(Some),
        ("guided_regex" | "regex", value) => text(field, value).map(GrammarSource::Regex).map(Some),
        (_, value) => text(field, value).map(GrammarSource::ebnf).map(Some),
    }
}

/// OpenAI's `{"type": "json_schema", "json_schema": {"schema": …}}` and `{"type": "json_object"}`;
/// llama.cpp's schema beside it; TGI's `{"type": "json", "value": …}`.
fn response_format(members: &Map<String, Value>) -> Result<Option<GrammarSource>, Fault> {
    const FIELD: &str = "response_format";
    const KNOWN: [&str; 4] = ["type", "json_schema", "schema", "value"];
    refuse_others(FIELD, members, &KNOWN, &[])?;
    let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
    match kind {
        "text" => Ok(None),
        "json_object" => match members.get("schema").or_else(|| members.get("value")) {
            Some(value) => schema("response_format.schema", value).map(Some),
            None => Ok(Some(GrammarSource::JsonObject)),
        },
        "json_schema" => {
            let told = members.get("json_schema").or_else(|| members.get("value"));
            let Some(Value::Object(told)) = told else {
                return Err(Fault::field("response_format.json_schema", "must be an object"));
            };
            let has_name = told.contains_key("name") || told.contains_key("strict");
            match told.get("schema") {
                Some(value) => schema("response_format.json_schema.schema", value).map(Some),
                None if has_name => {
                    Err(Fault::field("response_format.json_schema.schema", "is missing"))
                }
                // TGI's: the schema itself.
                None => Ok(Some(GrammarSource::JsonSchema(Value::Object(told.clone())))),
            }
        }
        "json" | "regex" => typed(FIELD, members).map(Some),
        _ => {
            let what = "must be \"text\", \"json_object\" or \"json_schema\"";
            Err(Fault::field("response_format.type", what))
        }
    }
}

/// vLLM's `{"json": …}`, `{"regex": …}`, `{"choice": …}`, `{"grammar": …}`, `{"json_object": true}`.
fn structured_outputs(members: &Map<String, Value>) -> Result<GrammarSource, Fault> {
    const FIELD: &str = "structured_outputs";
    const KINDS: [&str; 5] = ["json", "regex", "choice", "grammar", "json_object"];
    // What only tells vLLM's libraries how to do it.
    const NEUTRAL: [&str; 6] = [
        "disable_any_whitespace",
        "disable_fallback",
        "disable_additional_properties",
        "whitespace_pattern",
        "_backend",
        "structural_tag",
    ];
    refuse_others(FIELD, members, &KINDS, &NEUTRAL)?;
    let asks = |kind: &&str| members.get(*kind).is_some_and(|v| !v.is_null() && *v != false);
    let asked: Vec<&str> = KINDS.into_iter().filter(asks).collect();
    let [kind] = asked.as_slice() else {
        let what = format!("needs one of {}, not {}", KINDS.join(", "), asked.len());
        return Err(Fault::field(FIELD, what));
    };
    let value = &members[*kind];
    let field = format!("{FIELD}.{kind}");
    match *kind {
        "json" => schema(&field, value),
        "regex" => text(&field, value).map(GrammarSource::Regex),
        "choice" => choice(&field, value),
        "grammar" => text(&field, value).map(GrammarSource::ebnf),
        _ => Ok(GrammarSource::JsonObject),
    }
}

/// TGI's `{"type": "json" | "json_schema" | "regex", "value": …}`.
fn typed(field: &str, members: &Map<String, Value>) -> Result<GrammarSource, Fault> {
    refuse_others(field, members, &["type", "value"], &[])?;
    let value = members.get("value").unwrap_or(&Value::Null);
    let place = format!("{field}.value");
    match members.get("type").and_then(Value::as_str) {
        Some("json") => schema(&place, value),
        Some("json_schema") => schema(&place, value.get("schema").unwrap_or(value)),
        Some("regex") => text(&place, value).map(GrammarSource::Regex),
        Some("grammar") => text(&place, value).map(GrammarSource::ebnf),
        _ => {
            let what = "must be \"json\", \"json_schema\" or \"regex\"";
            Err(Fault::field(&format!("{field}.type"), what))
        }
    }
}

/// A member that no reader knows could ask for anything; one that is neutral must ask for nothing.
fn refuse_others(
    field: &str,
    members: &Map<String, Value>,
    known: &[&str],
    neutral: &[&str],
) -> Result<(), Fault> {
    for (name, value) in members {
        let asks = !(value.is_null() || *value == false || *value == json!(""));
        if known.contains(&name.as_str()) || neutral.contains(&name.as_str()) && !asks {
            continue;
        }
        let name: String = name.chars().take(64).collect();
        return Err(Fault::unsupported(&format!("{field}.{name}")));
    }
    Ok(())
}

/// A schema, or one written as text.
pub(crate) fn schema(field: &str, value: &Value) -> Result<GrammarSource, Fault> {
    let schema = match value {
        Value::Object(_) | Value::Bool(_) => value.clone(),
        Value::String(text) => {
            let parsed: Result<Value, _> = serde_json::from_str(text);
            parsed.map_err(|e| Fault::field(field, format!("is no JSON: {e}")))?
        }
        _ => Value::Null,
    };
    match schema {
        Value::Object(_) | Value::Bool(_) => Ok(GrammarSource::JsonSchema(schema)),
        _ => Err(Fault::field(field, "must be a JSON schema, an object")),
    }
}

fn text(field: &str, value: &Value) -> Result<String, Fault> {
    value.as_str().map(str::to_owned).ok_or_else(|| Fault::field(field, "must be a string"))
}

fn choice(field: &str, value: &Value) -> Result<GrammarSource, Fault> {
    let texts = || value.as_array()?.iter().map(|t| t.as_str().map(str::to_owned)).collect();
    let texts: Option<Vec<String>> = texts();
    let texts = texts.ok_or_else(|| Fault::field(field, "must be a list of strings"))?;
    Ok(GrammarSource::Choice(texts))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::fields::Fields;
    use crate::members::part;

    /// What a body asks for, or what is wrong with it.
    fn asked(body: &Value) -> String {
        let mut fields = Fields::parse(Bytes::from(body.to_string())).expect("an object");
        match part::<Structured>(&mut fields).and_then(|structured| structured.wanted()) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(Wanted { field, source })) => format!("{field} {source:?}"),
            Err(fault) => fault.message,
        }
    }

    #[test]
    fn every_way_of_asking_means_one_grammar() {
        let schema = json!({ "const": 1 });
        let json = "JsonSchema(Object {\"const\": Number(1)})";
        for (body, expect) in [
            (json!({ "response_format": { "type": "text" } }), "nothing".to_owned()),
            (json!({ "response_format": {}, "regex": "", "guided_choice": [] }), "nothing".into()),
            (
                json!({ "response_format": { "type": "json_object" } }),
                "response_format JsonObject".into(),
            ),
            (
                json!({ "response_format": { "type": "json_schema",
                    "json_schema": { "name": "x", "strict": true, "schema": schema } } }),
                format!("response_format {json}"),
            ),
            (
                json!({ "response_format": { "type": "json_object", "schema": schema } }),
                format!("response_format {json}"),
            ),
            (
                json!({ "response_format": { "type": "json", "value": schema } }),
                format!("response_format {json}"),
            ),
            (json!({ "guided_json": schema }), format!("guided_json {json}")),
            (json!({ "guided_json": schema.to_string() }), format!("guided_json {json}")),
            (json!({ "json_schema": schema }), format!("json_schema {json}")),
            (
                json!({ "structured_outputs": { "json": schema, "regex": null } }),
                format!("structured_outputs {json}"),
            ),
            (
                json!({ "structured_outputs": { "choice": ["a"] } }),
                "structured_outputs Choice([\"a\"])".into(),
            ),
            (
                json!({ "structured_outputs": { "json_object": true } }),
                "structured_outputs JsonObject".into(),
            ),
            (json!({ "guided_regex": "a+" }), "guided_regex Regex(\"a+\")".into()),
            (json!({ "regex": "a+" }), "regex Regex(\"a+\")".into()),
            (
                json!({ "grammar": { "type": "regex", "value": "a" } }),
                "grammar Regex(\"a\")".into(),
            ),
            (json!({ "grammar": { "type": "json", "value": schema } }), format!("grammar {json}")),
            (json!({ "grammar": "root ::= \"a\"" }), "grammar Gbnf(\"root ::= \\\"a\\\"\")".into()),
            (json!({ "ebnf": "root ::= \"a\"" }), "ebnf Gbnf(\"root ::= \\\"a\\\"\")".into()),
            (
                json!({ "guided_grammar": "start: \"a\"" }),
                "guided_grammar Lark(\"start: \\\"a\\\"\")".into(),
            ),
        ] {
            assert_eq!(asked(&body), expect, "{body}");
        }
    }

    #[test]
    fn what_is_wrong_names_its_place() {
        for (body, expect) in [
            (
                json!({ "regex": "a", "ebnf": "b" }),
                "ebnf: not beside regex: an answer has one grammar",
            ),
            (json!({ "response_format": "json" }), "response_format: must be an object"),
            (json!({ "response_format": { "type": "xml" } }), "response_format.type: must be"),
            (
                json!({ "response_format": { "type": "json_schema" } }),
                "response_format.json_schema: must be an object",
            ),
            (
                json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x" } } }),
                "response_format.json_schema.schema: is missing",
            ),
            (
                json!({ "response_format": { "type": "structural_tag", "structures": [1] } }),
                "response_format.structures",
            ),
            (
                json!({ "structured_outputs": { "json": {}, "regex": "a" } }),
                "structured_outputs: needs one of",
            ),
            (
                json!({ "structured_outputs": { "structural_tag": "x" } }),
                "structured_outputs.structural_tag",
            ),
            (json!({ "guided_json": "{" }), "guided_json: is no JSON"),
            (json!({ "guided_json": [1] }), "guided_json: must be a JSON schema"),
            (json!({ "guided_choice": [1] }), "guided_choice: must be a list of strings"),
            (json!({ "regex": 1 }), "regex: must be a string"),
            (json!({ "grammar": { "type": "x" } }), "grammar.type: must be"),
        ] {
            assert!(asked(&body).starts_with(expect), "{body}: {}", asked(&body));
        }
    }
}
