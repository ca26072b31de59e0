//! `json.loads`, for arguments of tool calls: they arrive as text and templates expect an object.
//!
//! Integers keep all their digits, which a general JSON tree does not. Next: `jinja.rs`.

use std::rc::Rc;

use super::meter::{Meter, Outcome, fail};
use super::text::Text;
use super::value::{Dict, Value};

const DEPTH_MAX: u32 = 128;

/// The object a client's text is; `None` where it is something else, or no JSON.
///
/// # Errors
/// A number or a depth that is not supported.
pub(crate) fn object(text: &str, meter: &Meter) -> Outcome<Option<Value>> {
    meter.letters(text.len())?;
    let mut reader = Reader { text, at: 0, meter };
    reader.blanks();
    if reader.rest().is_empty() {
        return Ok(Some(Value::Dict(Rc::default())));
    }
    let value = reader.value(DEPTH_MAX)?;
    reader.blanks();
    Ok(value.filter(|value| reader.rest().is_empty() && matches!(value, Value::Dict(_))))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    meter: &'t Meter,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: u32) -> Outcome<Option<Value>> {
        if depth == 0 {
            return fail(format!("arguments of a call more than {DEPTH_MAX} levels deep"));
        }
        self.meter.items(1)?;
        let words = [
            ("null", Value::None),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ];
        if let Some((_, value)) = words.into_iter().find(|(word, _)| self.take(word)) {
            return Ok(Some(value));
        }
        match self.rest().bytes().next() {
            Some(b'"') => Ok(self.text().map(|text| Value::Text(Text::client(&text)))),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.dict(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Ok(None),
        }
    }

    fn list(&mut self, depth: u32) -> Outcome<Option<Value>> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blanks();
            if items.is_empty() && self.take("]") {
                break;
            }
            let Some(item) = self.value(depth - 1)? else { return Ok(None) };
            items.push(item);
            self.blanks();
            if self.take("]") {
                break;
            }
            if !self.take(",") {
                return Ok(None);
            }
        }
        Value::list(items).map(Some)
    }

    fn dict(&mut self, depth: u32) -> Outcome<Option<Value>> {
        self.at += 1;
        let mut dict = Dict::default();
        let mut begun = false;
        loop {
            self.blanks();
            if !begun && self.take("}") {
                break;
            }
            begun = true;
            let Some(name) = self.text() else { return Ok(None) };
            self.blanks();
            if !self.take(":") {
                return Ok(None);
            }
            self.blanks();
            let Some(value) = self.value(depth - 1)? else { return Ok(None) };
            dict.insert(Value::Text(Text::client(&name)), value)?;
            self.blanks();
            if self.take("}") {
                break;
            }
            if !self.take(",") {
                return Ok(None);
            }
        }
        Ok(Some(Value::Dict(Rc::new(dict))))
    }

    /// A string; `serde_json` knows its escapes.
    fn text(&mut self) -> Option<String> {
        let rest = self.rest();
        let mut escaped = false;
        let inner = rest.strip_prefix('"')?;
        let end = inner.bytes().position(|byte| {
            let is_end = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            is_end
        })?;
        self.at += end + 2;
        serde_json::from_str(&rest[..end + 2]).ok()
    }

    fn number(&mut self) -> Outcome<Option<Value>> {
        let rest = self.rest();
        let part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let number = &rest[..end];
        self.at += end;
        // Its grammar is checked by a reader that knows it.
        if serde_json::from_str::<serde::de::IgnoredAny>(number).is_err() {
            return Ok(None);
        }
        if number.contains(['.', 'e', 'E']) {
            return Ok(number.parse().ok().map(Value::Float));
        }
        match number.parse() {
            Ok(int) => Ok(Some(Value::Int(int))),
            Err(_) => fail("integers beyond 127 bits are not supported"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jinja::print;

    fn check(text: &str, expect: Option<&str>) {
        let meter = Meter::new(0);
        let found = object(text, &meter).expect("a small object");
        let found = found.map(|value| print::text(&value, &meter).expect("text").to_string());
        assert_eq!(found.as_deref(), expect, "{text}");
    }

    #[test]
    fn only_objects_are_taken_and_their_numbers_are_whole() {
        check(
            r#"{"city": "Bonn", "n": [1, 2.50, 1e400, null]}"#,
            Some("{'city': 'Bonn', 'n': [1, 2.5, inf, None]}"),
        );
        check(
            r#" {"n": 123456789012345678901234567890, "a\"b": {}} "#,
            Some("{'n': 123456789012345678901234567890, 'a\"b': {}}"),
        );
        check(r#"{"a": 1, "b": 2, "a": 3}"#, Some("{'a': 3, 'b': 2}"));
        check("", Some("{}"));
        for other in ["[1]", "\"x\"", "{", "{'a': 1}", "{\"a\": 01}", "{\"a\": 1,}", "{} {}", "x"] {
            check(other, None);
        }
    }
}
