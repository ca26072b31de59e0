//! The forms in which grammars are written, and what is refused before one is compiled.
//!
//! Next: `gbnf.rs`.

use llguidance::api::TopLevelGrammar;
use serde_json::{Map, Value, json};

use super::{GrammarError, ascii, costly, gbnf};

/// Bytes of a grammar; the largest schemas that are published have about as many.
const SOURCE_BYTES_MAX: usize = 256 << 10;
/// Blanks between two parts of JSON. Any number of them would be legal, and small models write them
/// until their tokens are spent; these are llama.cpp's.
const BLANKS: &str = r"\x20|\x0A{1,2}[\x20\x09]{0,20}";
/// Strings of a choice.
const CHOICES_MAX: usize = 4096;

/// A grammar, as somebody wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum GrammarSource {
    /// An object of JSON.
    JsonObject,
    /// JSON that a schema describes.
    JsonSchema(Value),
    /// Text that an expression matches from its beginning to its end.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// Rules in Lark's form, as `llguidance` reads it.
    Lark(String),
    /// Rules in the form of llama.cpp, or in EBNF with `::=`.
    Gbnf(String),
}

impl GrammarSource {
    /// A grammar in one of the two forms that are called EBNF: llama.cpp's has `::=`.
    #[must_use]
    pub fn ebnf(text: String) -> Self {
        if text.contains("::=") { Self::Gbnf(text) } else { Self::Lark(text) }
    }

    /// What tells it from others.
    ///
    /// # Errors
    /// It is too large.
    pub(super) fn key(&self) -> Result<String, GrammarError> {
        let key = match self {
            Self::JsonObject => "o".to_owned(),
            Self::JsonSchema(schema) => format!("s{schema}"),
            Self::Regex(text) => format!("r{text}"),
            Self::Choice(texts) => format!("c{}", json!(texts)),
            Self::Lark(text) => format!("l{text}"),
            Self::Gbnf(text) => format!("g{text}"),
        };
        match key.len() {
            ..=SOURCE_BYTES_MAX => Ok(key),
            bytes => Err(GrammarError(format!(
                "it has {bytes} bytes; at most {SOURCE_BYTES_MAX} are taken"
            ))),
        }
    }

    pub(super) fn rules(&self) -> Result<TopLevelGrammar, GrammarError> {
        match self {
            Self::JsonSchema(schema) => costly::check(schema)?,
            Self::Lark(text) => costly::check_lark(text)?,
            _ => {}
        }
        Ok(match self {
            Self::JsonObject => {
                TopLevelGrammar::from_json_schema(json(json!({ "type": "object" })))
            }
            Self::JsonSchema(schema) => TopLevelGrammar::from_json_schema(json(schema.clone())),
            Self::Regex(text) if text.is_empty() => return Err(empty("the expression")),
            Self::Regex(text) => TopLevelGrammar::from_regex(&ascii::expression(text)),
            Self::Choice(texts) => TopLevelGrammar::from_lark(choice(texts)?),
            Self::Lark(text) if text.trim().is_empty() => return Err(empty("the grammar")),
            Self::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
            Self::Gbnf(text) => TopLevelGrammar::from_lark(gbnf::to_lark(text)?),
        })
    }
}

/// A schema with our blanks, unless it says itself how it is to be written.
fn json(schema: Value) -> Value {
    const HOW: &str = "x-guidance";
    let mut schema = match schema {
        Value::Object(members) => members,
        // Anything.
        Value::Bool(true) => Map::new(),
        other => return other,
    };
    ascii::schema(&mut schema);
    let how = schema.entry(HOW).or_insert_with(|| json!({}));
    if let Value::Object(how) = how
        && !how.contains_key("whitespace_flexible")
    {
        how.entry("whitespace_pattern").or_insert(BLANKS.into());
    }
    Value::Object(schema)
}

fn choice(texts: &[String]) -> Result<String, GrammarError> {
    if texts.is_empty() || texts.len() > CHOICES_MAX {
        let count = texts.len();
        return Err(GrammarError(format!(
            "it has {count} texts; from 1 to {CHOICES_MAX} are taken"
        )));
    }
    if texts.iter().any(String::is_empty) {
        return Err(empty("one of the texts"));
    }
    let texts: Vec<String> = texts.iter().map(|text| json!(text).to_string()).collect();
    Ok(format!("start: {}", texts.join(" | ")))
}

fn empty(what: &str) -> GrammarError {
    GrammarError(format!("{what} is empty"))
}
