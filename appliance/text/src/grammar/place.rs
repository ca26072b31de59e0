//! Where in a schema the fault is: the smallest part that cannot be compiled by itself.
//!
//! The library's errors name a key or a value, not its place. Next: `gbnf.rs`.

use serde_json::Value;

use super::GrammarError;

/// Parts that are tried, at most.
const TRIES_MAX: usize = 200;

/// The path of the smallest part that has a fault, and the fault; `None` where the whole alone has it.
pub(super) fn of(
    schema: &Value,
    fault: impl Fn(&Value) -> Option<GrammarError>,
) -> Option<(String, GrammarError)> {
    let (mut path, mut found) = (String::new(), None);
    let (mut part, mut tries) = (schema.clone(), 0);
    loop {
        // What the whole defines stands in each of its parts as well.
        let is_new = |(place, _): &(String, &Value)| found.is_none() || !is_definition(place);
        let below = parts(&part).into_iter().filter(is_new).find_map(|(name, below)| {
            tries += 1;
            let below = with_definitions(below, schema);
            let fault = (tries <= TRIES_MAX).then(|| fault(&below)).flatten()?;
            Some((name, below, fault))
        });
        let Some((name, below, fault)) = below else { return found };
        path += &name;
        found = Some((path.clone(), fault));
        part = below;
    }
}

/// The schemas directly inside one, with their places; definitions last: whoever refers to them is
/// named first.
fn parts(schema: &Value) -> Vec<(String, &Value)> {
    let mut all = Vec::new();
    let Value::Object(members) = schema else { return all };
    for name in ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"] {
        if let Some(Value::Object(inner)) = members.get(name) {
            all.extend(inner.iter().map(|(key, part)| (format!("/{name}/{key}"), part)));
        }
    }
    for name in ["items", "additionalProperties", "not", "if", "then", "else", "contains"] {
        if let Some(part @ Value::Object(_)) = members.get(name) {
            all.push((format!("/{name}"), part));
        }
    }
    for name in ["anyOf", "oneOf", "allOf", "prefixItems"] {
        if let Some(Value::Array(inner)) = members.get(name) {
            all.extend(inner.iter().enumerate().map(|(i, part)| (format!("/{name}/{i}"), part)));
        }
    }
    all.sort_by_key(|(place, _)| is_definition(place));
    all
}

fn is_definition(place: &str) -> bool {
    place.starts_with("/$defs/") || place.starts_with("/definitions/")
}

/// A part that can be compiled by itself: what the whole defines is there.
fn with_definitions(part: &Value, whole: &Value) -> Value {
    let mut part = part.clone();
    if let Value::Object(members) = &mut part {
        for name in ["$defs", "definitions"] {
            if let Some(definitions) = whole.get(name) {
                members.entry(name).or_insert_with(|| definitions.clone());
            }
        }
    }
    part
}
