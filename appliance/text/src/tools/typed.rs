//! Bare text as the JSON that a tool's schema asks for.
//!
//! As in vLLM's `qwen3coder_tool_parser.py`, text stays text where the schema does not know the
//! argument or nothing else fits; otherwise the first kind that the schema names and the text fits
//! decides. Whether a value is in range is not checked. Next: `force.rs`.

use serde_json::{Value, json};

use super::literal;

/// Parts of a schema that are looked at for one argument.
const PARTS_MAX: usize = 64;

/// JSON of an argument's text.
pub(super) fn json(text: &str, key: &str, schema: Option<&Value>) -> String {
    let kinds = schema.map_or_else(Vec::new, |schema| kinds(key, schema));
    let word = text.trim();
    let is_null = ["null", "none"].contains(&word.to_ascii_lowercase().as_str());
    let takes_null = kinds.contains(&"null") || !kinds.is_empty() && !kinds.contains(&"string");
    if is_null && takes_null {
        return "null".to_owned();
    }
    let found = kinds.iter().find_map(|kind| match *kind {
        "string" => Some(json!(text).to_string()),
        "integer" => integer(word),
        "number" => number(word),
        "boolean" => match word.to_ascii_lowercase().as_str() {
            word @ ("true" | "false") => Some(word.to_owned()),
            _ => None,
        },
        "object" => nested(word, '{'),
        "array" => nested(word, '['),
        _ => None,
    });
    found.unwrap_or_else(|| json!(text).to_string())
}

/// The kinds of value that a schema allows an argument, in its order.
fn kinds<'s>(key: &str, root: &'s Value) -> Vec<&'s str> {
    let mut kinds: Vec<&'s str> = Vec::new();
    let Some(first) = root.get("properties").and_then(|all| all.get(key)) else { return kinds };
    let mut parts = vec![first];
    for _ in 0..PARTS_MAX {
        let Some(part) = parts.pop() else { break };
        let target = part.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        parts.extend(target.and_then(|to| root.pointer(to)));
        match part.get("type") {
            Some(Value::String(kind)) => kinds.push(kind.as_str()),
            Some(Value::Array(all)) => kinds.extend(all.iter().filter_map(Value::as_str)),
            _ => {
                let values = part.get("enum").and_then(Value::as_array).into_iter().flatten();
                kinds.extend(
                    values.chain(part.get("const")).map(|value| -> &'s str { kind(value) }),
                );
            }
        }
        for all in ["anyOf", "oneOf", "allOf"] {
            let all = part.get(all).and_then(Value::as_array).into_iter().flatten();
            // The last is looked at first.
            parts.extend(all.rev());
        }
    }
    kinds
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn integer(word: &str) -> Option<String> {
    /// Up to here a float is exact.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let digits = word.strip_prefix('-').unwrap_or(word);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return is_json(word).then(|| word.to_owned());
    }
    let float: f64 = number(word)?.parse().ok()?;
    (float.fract() == 0.0 && float.abs() <= EXACT_MAX).then(|| format!("{float:.0}"))
}

fn number(word: &str) -> Option<String> {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    (is_number && is_json(word)).then(|| word.to_owned())
}

fn nested(word: &str, first: char) -> Option<String> {
    if !word.starts_with(first) {
        return None;
    }
    if is_json(word) { Some(word.to_owned()) } else { literal::json(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_decides_what_a_text_is() {
        let schema = json!({
            "$defs": { "size": { "type": "integer" }, "loop": { "$ref": "#/$defs/loop" } },
            "properties": {
                "s": { "type": "string" }, "i": { "type": "integer" }, "n": { "type": "number" },
                "b": { "type": "boolean" }, "o": { "type": "object" }, "a": { "type": "array" },
                "maybe": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
                "either": { "type": ["integer", "string"] },
                "unit": { "enum": ["c", "f"] }, "one": { "const": 1 }, "any": {},
                "size": { "$ref": "#/$defs/size" }, "loop": { "$ref": "#/$defs/loop" },
            },
        });
        for (key, text, expect) in [
            ("s", "5", "\"5\""),
            ("s", "null", "\"null\""),
            ("s", "a\n\"b\"", r#""a\n\"b\"""#),
            ("i", "5", "5"),
            ("i", " -7 ", "-7"),
            ("i", "5.0", "5"),
            ("i", "05", "\"05\""),
            ("i", "five", "\"five\""),
            ("i", "", "\"\""),
            ("i", "None", "null"),
            ("i", "123456789012345678901234567890", "123456789012345678901234567890"),
            ("n", "2.50", "2.50"),
            ("n", "NaN", "\"NaN\""),
            ("b", "True", "true"),
            ("b", "yes", "\"yes\""),
            ("o", "{\"a\": [1]}", "{\"a\": [1]}"),
            ("o", "{'a': None}", "{\"a\": null}"),
            ("o", "[1]", "\"[1]\""),
            ("a", "['x', 1]", "[\"x\", 1]"),
            ("maybe", "None", "null"),
            ("maybe", "5", "\"5\""),
            ("either", "5", "5"),
            ("either", "x", "\"x\""),
            ("unit", "c", "\"c\""),
            ("one", "1", "1"),
            ("any", "1", "\"1\""),
            ("size", "12", "12"),
            ("loop", "12", "\"12\""),
            ("unknown", "12", "\"12\""),
        ] {
            assert_eq!(json(text, key, Some(&schema)), expect, "{key}: {text}");
        }
        assert_eq!(json("5", "x", None), "\"5\"");
    }
}
