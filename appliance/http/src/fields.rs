//! A JSON object whose members are taken one by one, by name and type; what is left over is told.
//!
//! A schema knows its fields; this knows none. Next: `lmi/`.

use serde_json::{Map, Value};

use crate::fault::Fault;

/// Bytes of names in the header that tells what was ignored.
const IGNORED_BYTES_MAX: usize = 512;

/// The members of a body that are not taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Map<String, Value>,
    /// Where they stand, for messages: empty or `parameters.`.
    prefix: &'static str,
}

impl Fields {
    /// The fields of a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Fault> {
        let value = serde_json::from_slice(body).map_err(|e| {
            Fault::new(crate::fault::Kind::Invalid, format!("the body is not JSON: {e}"))
        })?;
        match value {
            Value::Object(members) => Ok(Self { members, prefix: "" }),
            other => Err(Fault::new(
                crate::fault::Kind::Invalid,
                format!("the body must be a JSON object, not {}", kind_of(&other)),
            )),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|v| !v.is_null())
    }

    /// Takes a member; `null` is as good as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name).filter(|v| !v.is_null())
    }

    fn wrong(&self, name: &str, expect: &str, found: &Value) -> Fault {
        let field = format!("{}{name}", self.prefix);
        Fault::field(&field, format!("must be {expect}, not {}", kind_of(found)))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, "a string", &other)),
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(name, "true or false", &other)),
        }
    }

    /// A number; the engine checks its range.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f32>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| self.wrong(name, "a number", &value))?;
        #[expect(clippy::cast_possible_truncation, reason = "parameters are f32 everywhere")]
        let number = number as f32;
        Ok(Some(number))
    }

    /// A whole number that is not negative; what no counter can hold is as good as the largest.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let float = |n: f64| (n.fract() == 0.0 && n >= 0.0).then_some(n as u64);
        let count = value.as_u64().or_else(|| value.as_f64().and_then(float));
        count.map(Some).ok_or_else(|| self.wrong(name, "a whole number from 0", &value))
    }

    pub(crate) fn count32(&mut self, name: &str) -> Result<Option<u32>, Fault> {
        let count = self.count(name)?;
        Ok(count.map(|n| u32::try_from(n).unwrap_or(u32::MAX)))
    }

    pub(crate) fn count16(&mut self, name: &str) -> Result<Option<u16>, Fault> {
        let count = self.count(name)?;
        Ok(count.map(|n| u16::try_from(n).unwrap_or(u16::MAX)))
    }

    /// A whole number of any sign.
    pub(crate) fn integer(&mut self, name: &str) -> Result<Option<i64>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        whole(&value).map(Some).ok_or_else(|| self.wrong(name, "a whole number", &value))
    }

    /// A string or a list of strings.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        texts_of(&value).map(Some).ok_or_else(|| self.wrong(name, "a string or strings", &value))
    }

    /// A list of token ids.
    pub(crate) fn tokens(&mut self, name: &str) -> Result<Option<Vec<u32>>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        tokens_of(&value).map(Some).ok_or_else(|| self.wrong(name, "a list of token ids", &value))
    }

    /// A nested object.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(other) => Err(self.wrong(name, "an object", &other)),
        }
    }

    /// A nested object whose members are fields too.
    pub(crate) fn nested(&mut self, name: &str, prefix: &'static str) -> Result<Self, Fault> {
        let members = self.object(name)?.unwrap_or_default();
        Ok(Self { members, prefix })
    }

    /// Refuses a field that asks for what this version cannot do; `harmless` values are taken.
    pub(crate) fn refuse(
        &mut self,
        name: &str,
        harmless: impl Fn(&Value) -> bool,
    ) -> Result<(), Fault> {
        match self.take(name) {
            Some(value) if !harmless(&value) => {
                Err(Fault::unsupported(&format!("{}{name}", self.prefix)))
            }
            _ => Ok(()),
        }
    }

    /// Names of what was not taken, for the header; letters that a header cannot have are dropped.
    pub(crate) fn ignored(&self) -> impl Iterator<Item = String> {
        let clean = |name: &String| {
            let plain = |c: &char| c.is_ascii_graphic() && *c != ',';
            name.chars().filter(plain).take(64).collect::<String>()
        };
        self.members.keys().map(move |name| format!("{}{}", self.prefix, clean(name)))
    }
}

/// The value of `x-gimbal-ignored`.
pub(crate) fn ignored_header(names: impl Iterator<Item = String>) -> Option<String> {
    let mut header = String::new();
    for name in names {
        if header.len() + name.len() + 2 > IGNORED_BYTES_MAX {
            header.push_str(", …");
            break;
        }
        if !header.is_empty() {
            header.push_str(", ");
        }
        header.push_str(&name);
    }
    (!header.is_empty()).then(|| header.replace('…', "..."))
}

/// Empty lists and objects, `false` and the like ask for nothing.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

pub(crate) fn texts_of(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|i| i.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

pub(crate) fn tokens_of(value: &Value) -> Option<Vec<u32>> {
    let id = |value: &Value| whole(value).and_then(|id| u32::try_from(id).ok());
    value.as_array()?.iter().map(id).collect()
}

/// A whole number; `16.0` is one, as in JSON Schema.
fn whole(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "below 2^53 a whole float is exact")]
    let float =
        |n: f64| (n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0).then_some(n as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(float))
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number of another kind",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_typed_and_the_rest_is_told() {
        let body = br#"{"a": 1, "b": null, "c": "x", "d": [1, 2.0], "e,\n": true, "f": -1}"#;
        let mut fields = Fields::parse(body).expect("an object");
        assert_eq!(fields.number("a"), Ok(Some(1.0)));
        assert_eq!(fields.flag("b"), Ok(None));
        assert_eq!(fields.text("c").expect("a string").as_deref(), Some("x"));
        assert_eq!(fields.tokens("d"), Ok(Some(vec![1, 2])));
        let wrong = fields.count("f").expect_err("negative");
        assert_eq!(wrong.message, "f: must be a whole number from 0, not a number of another kind");
        assert_eq!(ignored_header(fields.ignored()).as_deref(), Some("e"));
    }

    #[test]
    fn broken_bodies_say_what_is_wrong() {
        for (body, expect) in [("{", "not JSON"), ("[1]", "not a list"), ("", "not JSON")] {
            let fault = Fields::parse(body.as_bytes()).expect_err(expect);
            assert!(fault.message.contains(expect), "{}", fault.message);
        }
        let deep = "[".repeat(100_000);
        assert!(Fields::parse(deep.as_bytes()).is_err());
    }
}
