//! The types that members of a body may have, each with its bound: what a value would cost is known
//! before it is built.
//!
//! Numbers are lenient where clients are: `16.0` is a whole number, as in JSON Schema. Next: `lmi/`.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::fields::OWN_WORDS;
use crate::weight;

/// Prompts of one body.
pub(crate) const PROMPTS_MAX: usize = 256;
/// What the engine takes of each; one more, and the engine says what is wrong.
pub(crate) const STOPS_MAX: usize = 65;
pub(crate) const STOP_TOKENS_MAX: usize = 1025;
/// Token ids of one list; beyond any context there is.
const TOKENS_MAX: usize = 4 << 20;

/// True or false.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag(pub(crate) bool);

/// A number; the engine checks its range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(pub(crate) f32);

/// A whole number that is not negative; what no counter can hold is as good as the largest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) u64);

/// A whole number of any sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer(pub(crate) i64);

/// How many of the most probable tokens are kept; -1 keeps all, as 0 does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopK(pub(crate) u32);

/// A token id.
#[derive(Clone, Copy, Debug)]
struct Token(u32);

impl Count {
    pub(crate) fn small(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }

    pub(crate) fn smaller(self) -> u16 {
        u16::try_from(self.0).unwrap_or(u16::MAX)
    }
}

/// An error that tells what a value should be, unless it tells better already.
fn expected<E: Error>(what: &'static str) -> impl Fn(E) -> E {
    move |error| match error.to_string() {
        said if said.starts_with(OWN_WORDS) => error,
        _ => E::custom(format!("expected {what}")),
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer).map(Self).map_err(expected("true or false"))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer).map_err(expected("a number"))?;
        #[expect(clippy::cast_possible_truncation, reason = "parameters are f32 everywhere")]
        Ok(Self(number as f32))
    }
}

impl<'de> Deserialize<'de> for TopK {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Integer(k) = Integer::deserialize(deserializer)?;
        let k = if k == -1 { 0 } else { k };
        let wrong = |_| D::Error::custom(format!("{OWN_WORDS}must be from 0, or -1"));
        u32::try_from(k).map(Self).map_err(wrong)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WHAT: &str = "a whole number from 0";
        let number = serde_json::Number::deserialize(deserializer).map_err(expected(WHAT))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let float = |n: f64| (n.fract() == 0.0 && n >= 0.0).then_some(n as u64);
        let count = number.as_u64().or_else(|| number.as_f64().and_then(float));
        count.map(Self).ok_or_else(|| D::Error::custom(format!("expected {WHAT}")))
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const WHAT: &str = "a whole number";
        let number = serde_json::Number::deserialize(deserializer).map_err(expected(WHAT))?;
        #[expect(clippy::cast_possible_truncation, reason = "below 2^53 a whole float is exact")]
        let float =
            |n: f64| (n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0).then_some(n as i64);
        let whole = number.as_i64().or_else(|| number.as_f64().and_then(float));
        whole.map(Self).ok_or_else(|| D::Error::custom(format!("expected {WHAT}")))
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

/// A string or at most `MAX` strings.
#[derive(Debug)]
pub(crate) struct Texts<const MAX: usize> {
    pub(crate) texts: Vec<String>,
    /// It came as a list.
    pub(crate) is_list: bool,
}

impl<'de, const MAX: usize> Deserialize<'de> for Texts<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = deserializer.deserialize_any(OneOrMany::<MAX>);
        texts.map_err(expected("a string or strings"))
    }
}

struct OneOrMany<const MAX: usize>;

impl<'de, const MAX: usize> Visitor<'de> for OneOrMany<MAX> {
    type Value = Texts<MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Texts { texts: vec![text.to_owned()], is_list: false })
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Texts { texts: vec![text], is_list: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let texts = Items::<String, MAX>(PhantomData).visit_seq(items)?;
        Ok(Texts { texts, is_list: true })
    }
}

/// At most `MAX` token ids.
#[derive(Debug)]
pub(crate) struct Ids<const MAX: usize>(pub(crate) Vec<u32>);

impl<'de, const MAX: usize> Deserialize<'de> for Ids<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = List::<Token, MAX>::deserialize(deserializer);
        let List(ids) = list.map_err(expected("a list of token ids"))?;
        Ok(Self(ids.into_iter().map(|Token(id)| id).collect()))
    }
}

/// Any value, as a tree; only what templates read is one, and what it costs is bounded.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) value: Value,
    /// What it costs.
    pub(crate) bytes: usize,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let heavy = |what: String| D::Error::custom(format!("{OWN_WORDS}{what}"));
        let bytes = weight::check(raw.as_bytes()).map_err(heavy)?;
        let value = serde_json::from_str(raw).map_err(D::Error::custom)?;
        Ok(Self { value, bytes })
    }
}

/// An object, as a tree.
#[derive(Debug, Default)]
pub(crate) struct Object {
    pub(crate) members: Map<String, Value>,
    pub(crate) bytes: usize,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tree { value, bytes } = Tree::deserialize(deserializer)?;
        match value {
            Value::Object(members) => Ok(Self { members, bytes }),
            _ => Err(D::Error::custom("expected an object")),
        }
    }
}

/// What completions continue: a string, strings, token ids, or lists of them; at most `PROMPTS_MAX` of
/// each but the ids.
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

    /// Bytes of all of them as text, about.
    pub(crate) fn bytes(&self) -> usize {
        const TOKEN_BYTES: usize = 4;
        match self {
            Self::Texts(texts) => texts.iter().map(String::len).sum(),
            Self::Tokens(lists) => lists.iter().map(|ids| TOKEN_BYTES * ids.len()).sum(),
        }
    }

    fn read(raw: &str) -> serde_json::Result<Self> {
        let mut letters = raw.bytes().filter(|b| !b.is_ascii_whitespace());
        match (letters.next(), letters.next()) {
            (Some(b'['), Some(b']')) => Err(Error::custom(format!("{OWN_WORDS}must not be empty"))),
            (Some(b'['), Some(b'[')) => {
                let List(lists): List<Ids<TOKENS_MAX>, PROMPTS_MAX> = serde_json::from_str(raw)?;
                Ok(Self::Tokens(lists.into_iter().map(|Ids(ids)| ids).collect()))
            }
            (Some(b'['), Some(b'0'..=b'9' | b'-')) => {
                let Ids(ids): Ids<TOKENS_MAX> = serde_json::from_str(raw)?;
                Ok(Self::Tokens(vec![ids]))
            }
            _ => serde_json::from_str(raw)
                .map(|Texts::<PROMPTS_MAX> { texts, .. }| Self::Texts(texts)),
        }
    }
}

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let wrong = expected("a string, strings, token ids or lists of them");
        Self::read(raw).map_err(D::Error::custom).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::fields::{Fields, ignored_header};
    use crate::members;

    fn fields(body: &str) -> Fields {
        Fields::parse(Bytes::from(body.to_owned())).expect("an object")
    }

    #[derive(Debug, Default, Deserialize)]
    struct Wire {
        temperature: Option<Number>,
        user: Option<Flag>,
        model: Option<String>,
        stop_token_ids: Option<Ids<2>>,
        top_k: Option<TopK>,
        n: Option<Count>,
        stop: Option<Texts<2>>,
        prompt: Option<Prompts>,
        chat_template_kwargs: Option<Object>,
    }

    fn read(body: &str) -> Result<Wire, String> {
        members::part(&mut fields(body)).map_err(|fault| fault.message)
    }

    #[test]
    fn fields_are_typed_and_the_rest_is_told() {
        let body = r#"{"temperature": 1, "user": null, "model": "x", "stop_token_ids": [1, 2.0],
            "e,\n": true, "chat_template_kwargs": {"a": []}, "n": 7.0, "top_k": 4e0, "model": "y"}"#;
        let mut fields = fields(body);
        let some: Wire = members::part(&mut fields).expect("all are legal");
        assert_eq!(some.temperature.map(|Number(n)| n), Some(1.0));
        assert!(some.user.is_none() && some.stop.is_none());
        assert_eq!(some.model.as_deref(), Some("y"), "the last one");
        assert_eq!(some.stop_token_ids.map(|Ids(ids)| ids), Some(vec![1, 2]));
        assert_eq!(some.top_k.map(|TopK(k)| k), Some(4));
        assert_eq!(some.n.map(Count::small), Some(7));
        assert!(some.chat_template_kwargs.is_some_and(|o| o.members["a"] == Value::Array(vec![])));
        assert_eq!(ignored_header(fields.ignored()).as_deref(), Some("e"));
    }

    #[test]
    fn wrong_values_say_what_is_right() {
        for (body, expect) in [
            (r#"{"n": -1}"#, "n: must be a whole number from 0, not a number of another kind"),
            (r#"{"n": "expected 1 at line 1"}"#, "n: must be a whole number from 0, not a string"),
            (r#"{"n": 1.5}"#, "n: must be a whole number from 0, not a number of another kind"),
            (r#"{"temperature": "hot"}"#, "temperature: must be a number, not a string"),
            (r#"{"user": 1}"#, "user: must be true or false, not a number of another kind"),
            (r#"{"model": ["x"]}"#, "model: must be a string, not a list"),
            (r#"{"model": "\ud800"}"#, "model: is broken: "),
            (r#"{"top_k": -2}"#, "top_k: must be from 0, or -1"),
            (r#"{"top_k": 0.5}"#, "top_k: must be a whole number, not a number of another kind"),
            (r#"{"stop": ["a", "b", "c"]}"#, "stop: must have at most 2 items"),
            (r#"{"stop": ["a", 1]}"#, "stop: must be a string or strings, not a list"),
            (r#"{"stop": {}}"#, "stop: must be a string or strings, not an object"),
            (
                r#"{"stop_token_ids": "x"}"#,
                "stop_token_ids: must be a list of token ids, not a string",
            ),
            (r#"{"stop_token_ids": [1, 2, 3]}"#, "stop_token_ids: must have at most 2 items"),
            (
                r#"{"stop_token_ids": [-1]}"#,
                "stop_token_ids: must be a list of token ids, not a list",
            ),
            (
                r#"{"chat_template_kwargs": []}"#,
                "chat_template_kwargs: must be an object, not a list",
            ),
        ] {
            let said = read(body).expect_err(body);
            assert!(said.starts_with(expect), "{body}: {said}");
        }
    }

    #[test]
    fn prompts_come_in_four_shapes() {
        let shape = |prompt: &str| match read(&format!("{{\"prompt\": {prompt}}}")) {
            Ok(Wire { prompt: Some(Prompts::Texts(texts)), .. }) => format!("{texts:?}"),
            Ok(Wire { prompt: Some(Prompts::Tokens(ids)), .. }) => format!("{ids:?}"),
            Ok(some) => format!("{some:?}"),
            Err(message) => message,
        };
        let what = "prompt: must be a string, strings, token ids or lists of them, not";
        assert_eq!(shape(r#""a""#), r#"["a"]"#);
        assert_eq!(shape(r#"["a","b"]"#), r#"["a", "b"]"#);
        assert_eq!(shape("[1, 2, 3]"), "[[1, 2, 3]]");
        assert_eq!(shape("[[1],[2,3]]"), "[[1], [2, 3]]");
        assert_eq!(shape("[]"), "prompt: must not be empty");
        assert_eq!(shape("[1,2.5]"), format!("{what} a list"));
        let many = vec!["[1]"; PROMPTS_MAX + 1].join(",");
        let many = shape(&format!("[{many}]"));
        assert_eq!(many, format!("prompt: must have at most {PROMPTS_MAX} items"));
        assert_eq!(shape("7"), format!("{what} a number of another kind"));
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
