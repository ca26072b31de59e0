//! The types that members of a body may have, each with its bound: what a value would cost is known
//! before it is built.
//!
//! Numbers are lenient where clients are: `16.0` is a whole number, as in JSON Schema. Next: `lmi/`.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::fields::{Fields, OWN_WORDS};
use crate::weight;

/// Prompts of one body.
pub(crate) const PROMPTS_MAX: usize = 256;
/// What the engine takes of each; one more, and the engine says what is wrong.
pub(crate) const STOPS_MAX: usize = 65;
pub(crate) const STOP_TOKENS_MAX: usize = 1025;
/// Token ids of one list; beyond any context there is.
const TOKENS_MAX: usize = 4 << 20;

impl Fields {
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        self.typed(name, "a string")
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        self.typed(name, "true or false")
    }

    /// A number; the engine checks its range.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<f32>, Fault> {
        #[expect(clippy::cast_possible_truncation, reason = "parameters are f32 everywhere")]
        let number = self.typed(name, "a number")?.map(|number: f64| number as f32);
        Ok(number)
    }

    /// A whole number that is not negative; what no counter can hold is as good as the largest.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, Fault> {
        let count: Option<Count> = self.typed(name, "a whole number from 0")?;
        Ok(count.map(|Count(n)| n))
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
        let integer: Option<Integer> = self.typed(name, "a whole number")?;
        Ok(integer.map(|Integer(n)| n))
    }

    /// A string or at most `MAX` strings.
    pub(crate) fn texts<const MAX: usize>(
        &mut self,
        name: &str,
    ) -> Result<Option<Vec<String>>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let texts = one_or_many::<MAX>(&value);
        texts.map(Some).map_err(|error| self.wrong(name, "a string or strings", &value, &error))
    }

    /// At most `MAX` token ids.
    pub(crate) fn tokens<const MAX: usize>(
        &mut self,
        name: &str,
    ) -> Result<Option<Vec<u32>>, Fault> {
        let tokens: Option<List<Token, MAX>> = self.typed(name, "a list of token ids")?;
        Ok(tokens.map(|List(ids)| ids_of(ids)))
    }

    /// Any value, as a tree; only what templates read is one, and what it costs is bounded.
    pub(crate) fn tree(&mut self, name: &str) -> Result<Option<Value>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let bytes = weight::check(&value).map_err(|what| Fault::field(name, what))?;
        self.tree_bytes += bytes;
        let tree = serde_json::from_slice(&value);
        tree.map(Some).map_err(|error| self.wrong(name, "JSON", &value, &error))
    }

    /// An object, as a tree.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Fault> {
        match self.tree(name)? {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(Fault::field(name, "must be an object")),
        }
    }
}

/// A whole number from 0, saturating.
#[derive(Clone, Copy, Debug)]
struct Count(u64);

/// A whole number.
#[derive(Clone, Copy, Debug)]
struct Integer(i64);

/// A token id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token(pub(crate) u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let float = |n: f64| (n.fract() == 0.0 && n >= 0.0).then_some(n as u64);
        let count = number.as_u64().or_else(|| number.as_f64().and_then(float));
        count.map(Self).ok_or_else(|| D::Error::custom("negative or broken"))
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        #[expect(clippy::cast_possible_truncation, reason = "below 2^53 a whole float is exact")]
        let float =
            |n: f64| (n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0).then_some(n as i64);
        let whole = number.as_i64().or_else(|| number.as_f64().and_then(float));
        whole.map(Self).ok_or_else(|| D::Error::custom("not whole"))
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Integer(id) = Integer::deserialize(deserializer)?;
        u32::try_from(id).map(Self).map_err(|_| D::Error::custom("no token id"))
    }
}

/// At most `MAX` items; one more is an error before it is read.
#[derive(Debug)]
pub(crate) struct List<T, const MAX: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items::<T, MAX>(PhantomData)).map(List)
    }
}

struct Items<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom(format!("{OWN_WORDS}must have at most {MAX} items")));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// What completions continue.
#[derive(Debug)]
pub(crate) enum Prompts {
    Texts(Vec<String>),
    Tokens(Vec<Vec<u32>>),
}

impl Prompts {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(lists) => lists.len(),
        }
    }
}

impl Fields {
    /// A string, strings, token ids, or lists of them; at most `MAX` of each but the ids.
    pub(crate) fn prompts<const MAX: usize>(&mut self, name: &str) -> Result<Prompts, Fault> {
        let expect = "a string, strings, token ids or lists of them";
        let Some(value) = self.take(name) else { return Err(Fault::field(name, "is missing")) };
        let inner = value.iter().filter(|b| !b.is_ascii_whitespace()).nth(1);
        let wrong = |error| self.wrong(name, expect, &value, &error);
        match (value.first(), inner) {
            (Some(b'['), Some(b']')) => Err(Fault::field(name, "must not be empty")),
            (Some(b'['), Some(b'[')) => {
                let lists: List<List<Token, TOKENS_MAX>, MAX> =
                    serde_json::from_slice(&value).map_err(wrong)?;
                let lists = lists.0.into_iter().map(|List(ids)| ids_of(ids));
                Ok(Prompts::Tokens(lists.collect()))
            }
            (Some(b'['), Some(b'0'..=b'9' | b'-')) => {
                let List(ids): List<Token, TOKENS_MAX> =
                    serde_json::from_slice(&value).map_err(wrong)?;
                Ok(Prompts::Tokens(vec![ids_of(ids)]))
            }
            _ => one_or_many::<MAX>(&value).map(Prompts::Texts).map_err(wrong),
        }
    }
}

fn ids_of(tokens: Vec<Token>) -> Vec<u32> {
    tokens.into_iter().map(|Token(id)| id).collect()
}

/// A string or at most `MAX` strings.
fn one_or_many<const MAX: usize>(value: &[u8]) -> serde_json::Result<Vec<String>> {
    match value.first() {
        Some(b'[') => serde_json::from_slice(value).map(|List::<String, MAX>(texts)| texts),
        _ => serde_json::from_slice(value).map(|text| vec![text]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::fields::ignored_header;

    fn fields(body: &str) -> Fields {
        Fields::parse(Bytes::from(body.to_owned())).expect("an object")
    }

    #[test]
    fn fields_are_typed_and_the_rest_is_told() {
        let body = r#"{"temperature": 1, "user": null, "model": "x", "stop_token_ids": [1, 2.0],
            "e,\n": true, "n": -1, "top_k": 4e0, "model": "y"}"#;
        let mut fields = fields(body);
        assert_eq!(fields.number("temperature"), Ok(Some(1.0)));
        assert_eq!(fields.flag("user"), Ok(None));
        assert_eq!(fields.text("model").expect("a string").as_deref(), Some("y"), "the last one");
        assert_eq!(fields.tokens::<8>("stop_token_ids"), Ok(Some(vec![1, 2])));
        assert_eq!(fields.integer("top_k"), Ok(Some(4)));
        let wrong = fields.count("n").expect_err("negative");
        assert_eq!(wrong.message, "n: must be a whole number from 0, not a number of another kind");
        assert_eq!(ignored_header(fields.ignored()).as_deref(), Some("e"));
    }

    #[test]
    fn lists_have_an_end_that_is_named() {
        let mut body = fields(r#"{"stop": ["a", "b", "c"], "stop_token_ids": "x"}"#);
        let many = body.texts::<2>("stop").expect_err("three").message;
        assert_eq!(many, "stop: must have at most 2 items");
        let kind = body.tokens::<2>("stop_token_ids").expect_err("text").message;
        assert_eq!(kind, "stop_token_ids: must be a list of token ids, not a string");
    }

    #[test]
    fn prompts_come_in_four_shapes() {
        let shape = |prompt: &str| {
            let mut fields = fields(&format!("{{\"prompt\": {prompt}}}"));
            match fields.prompts::<2>("prompt") {
                Ok(Prompts::Texts(texts)) => format!("{texts:?}"),
                Ok(Prompts::Tokens(ids)) => format!("{ids:?}"),
                Err(fault) => fault.message,
            }
        };
        assert_eq!(shape(r#""a""#), r#"["a"]"#);
        assert_eq!(shape(r#"["a","b"]"#), r#"["a", "b"]"#);
        assert_eq!(shape("[1, 2, 3]"), "[[1, 2, 3]]");
        assert_eq!(shape("[[1],[2,3]]"), "[[1], [2, 3]]");
        assert_eq!(shape("[]"), "prompt: must not be empty");
        assert_eq!(
            shape("[1,2.5]"),
            "prompt: must be a string, strings, token ids or lists of them, not a list"
        );
        assert_eq!(shape("[[1],[2],[3]]"), "prompt: must have at most 2 items");
        assert_eq!(
            shape("7"),
            "prompt: must be a string, strings, token ids or lists of them, not a number of another kind"
        );
    }

    #[test]
    fn broken_bodies_say_what_is_wrong() {
        let deep = "[".repeat(100_000);
        for (body, expect) in
            [("{", "not JSON"), ("[1]", "not a list"), ("", "not JSON"), (&deep, "not JSON")]
        {
            let fault = Fields::parse(Bytes::from(body.to_owned())).expect_err(expect);
            assert!(fault.message.contains(expect), "{}", fault.message);
        }
    }
}
