//! Members of a body as a struct: serde asks for those that the struct names, and gets each from the
//! bytes it stands in.
//!
//! A member that is `null` is absent; what no struct names stays where it is and is told. Which types
//! members have stands in `typed.rs`. Next: `typed.rs`.

use std::fmt;
use std::slice::Iter;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::fault::{Fault, Kind};
use crate::fields::{self, Fields};

/// A struct of the members that it names.
pub(crate) fn part<T: for<'de> Deserialize<'de>>(fields: &mut Fields) -> Result<T, Fault> {
    let body = fields.body();
    T::deserialize(Members { fields, body: &body }).map_err(|wrong| match wrong {
        Wrong::Member(fault) => *fault,
        Wrong::Said(said) => Fault::new(Kind::Invalid, said),
    })
}

/// Why a struct cannot be made.
#[derive(Debug)]
enum Wrong {
    /// What a value said, without its place in the text.
    Said(String),
    /// The same, with its name.
    Member(Box<Fault>),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(said) => f.write_str(said),
            Self::Member(fault) => f.write_str(&fault.message),
        }
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let said = message.to_string();
        Self::Said(said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said).to_owned())
    }
}

struct Members<'de, 'f> {
    fields: &'f mut Fields,
    body: &'de [u8],
}

impl<'de> Deserializer<'de> for Members<'de, '_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Wrong> {
        Err(de::Error::custom("a body is a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let Self { fields, body } = self;
        visitor.visit_map(Walk { fields, body, names: names.iter(), next: None })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Goes over the names of a struct.
struct Walk<'de, 'f> {
    fields: &'f mut Fields,
    body: &'de [u8],
    names: Iter<'static, &'static str>,
    next: Option<Member<'de>>,
}

impl<'de> MapAccess<'de> for Walk<'de, '_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        for name in self.names.by_ref() {
            let Some(at) = self.fields.take(name) else { continue };
            let bytes = self.body.get(at).unwrap_or_default();
            self.next = Some(Member { prefix: self.fields.prefix(), name, bytes });
            let name: StrDeserializer<'_, Wrong> = name.into_deserializer();
            return seed.deserialize(name).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        match self.next.take() {
            Some(member) => seed.deserialize(member).map_err(|wrong| member.wrong(wrong)),
            None => Err(de::Error::custom("a value was asked for before its name")),
        }
    }
}

/// The value of a member.
#[derive(Clone, Copy)]
struct Member<'de> {
    prefix: &'static str,
    name: &'static str,
    bytes: &'de [u8],
}

impl Member<'_> {
    fn wrong(self, wrong: Wrong) -> Wrong {
        let Wrong::Said(said) = wrong else { return wrong };
        let field = format!("{}{}", self.prefix, self.name);
        Wrong::Member(Box::new(Fault::field(&field, fields::wrong(self.bytes, &said))))
    }
}

macro_rules! as_json {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            let mut json = serde_json::Deserializer::from_slice(self.bytes);
            json.$method(visitor).map_err(de::Error::custom)
        }
    )*};
}

impl<'de> Deserializer<'de> for Member<'de> {
    type Error = Wrong;

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let mut json = serde_json::Deserializer::from_slice(self.bytes);
        json.deserialize_newtype_struct(name, visitor).map_err(de::Error::custom)
    }

    as_json! {
        deserialize_any deserialize_bool deserialize_f64 deserialize_str deserialize_string
        deserialize_seq deserialize_map deserialize_ignored_any
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct tuple
        tuple_struct struct enum identifier
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What serde is told of a struct.
    struct Probe;

    #[derive(Debug)]
    struct Names(&'static [&'static str]);

    impl fmt::Display for Names {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:?}", self.0)
        }
    }

    impl std::error::Error for Names {}

    impl de::Error for Names {
        fn custom<T: fmt::Display>(_: T) -> Self {
            Self(&[])
        }
    }

    impl<'de> Deserializer<'de> for Probe {
        type Error = Names;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Names> {
            Err(Names(&[]))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            names: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Names> {
            Err(Names(names))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    /// The members that a struct names.
    pub(crate) fn names<T: for<'de> Deserialize<'de> + fmt::Debug>() -> &'static [&'static str] {
        T::deserialize(Probe).expect_err("a probe gives no value").0
    }
}
