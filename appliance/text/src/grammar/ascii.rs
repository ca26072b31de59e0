//! `\d`, `\w` and `\s` as who writes them means them: digits, letters and blanks of ASCII.
//!
//! The library has those of Unicode, and a model that may write any script's digits does. JSON Schema
//! says so too. **Source**: ECMA-262 §22.2.2.9. Next: `gbnf.rs`.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// An expression that means those of ASCII.
pub(super) fn expression(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let (mut out, mut depth) = (String::with_capacity(text.len() + 16), 0_usize);
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => {
                let Some(escaped) = rest.next() else {
                    out.push('\\');
                    break;
                };
                match class(escaped) {
                    Some(inner) if escaped.is_ascii_uppercase() => {
                        out.push_str(&format!("[^{inner}]"));
                    }
                    Some(inner) if depth > 0 => out.push_str(inner),
                    Some(inner) => out.push_str(&format!("[{inner}]")),
                    None => out.extend(['\\', escaped]),
                }
            }
            '[' => {
                depth += 1;
                out.push('[');
            }
            ']' => {
                depth = depth.saturating_sub(1);
                out.push(']');
            }
            other => out.push(other),
        }
    }
    out.into()
}

/// The same for every pattern of a schema.
pub(crate) fn schema(schema: &mut Map<String, Value>) {
    // Values, not schemas.
    const DATA: [&str; 4] = ["const", "enum", "default", "examples"];
    for (name, value) in schema.iter_mut().filter(|(name, _)| !DATA.contains(&name.as_str())) {
        match value {
            Value::String(pattern) if name == "pattern" => {
                *pattern = expression(pattern).into_owned();
            }
            Value::Object(inner) => self::schema(inner),
            Value::Array(items) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(self::schema);
            }
            _ => {}
        }
    }
}

fn class(escaped: char) -> Option<&'static str> {
    match escaped.to_ascii_lowercase() {
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some(r" \t\n\r\f\x0B"),
        _ => None,
    }
}
