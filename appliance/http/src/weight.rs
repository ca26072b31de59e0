//! What JSON would cost as a tree of values, without making one.
//!
//! A tree of `{}` is some fifty times its text. Only what a template reads becomes a tree, and only
//! what weighs no more than it may. Next: `typed.rs`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Bytes of one value in a tree, about.
const VALUE_BYTES: usize = 80;
/// Bytes of one name in an object, about, with its place in the table.
const NAME_BYTES: usize = 64;
/// A tree may weigh twice its text, and twice this in any case: thousands of messages.
const TREE_BYTES_MIN: usize = 2 << 20;

/// Bytes of the tree that a value would be. Refuses one whose tree would be far larger than its text.
pub(crate) fn check(json: &[u8]) -> Result<usize, String> {
    let bytes_max = 2 * json.len().max(TREE_BYTES_MIN);
    let mut weight = Weight { bytes: 0, bytes_max };
    let mut reader = serde_json::Deserializer::from_slice(json);
    match Weigh(&mut weight).deserialize(&mut reader) {
        Err(_) if weight.bytes > bytes_max => Err(format!(
            "has too many values for its length: more than {bytes_max} bytes of memory for {} \
             bytes of JSON; send fewer, longer ones",
            json.len()
        )),
        // What else is wrong with it is told by whoever makes the tree.
        _ => Ok(weight.bytes),
    }
}

struct Weight {
    bytes: usize,
    bytes_max: usize,
}

impl Weight {
    fn add<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_max { Err(E::custom("too heavy")) } else { Ok(()) }
    }
}

struct Weigh<'w>(&'w mut Weight);

impl<'de> DeserializeSeed<'de> for Weigh<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.add(VALUE_BYTES)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Weigh<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.bytes += text.len();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Weigh(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            self.0.add(NAME_BYTES)?;
            map.next_value_seed(Weigh(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn many_small_values_are_refused_and_long_ones_are_not() {
        let check = |json: &str, is_fine: bool| {
            assert_eq!(super::check(json.as_bytes()).is_ok(), is_fine, "{:.40}", json);
        };
        let many = |item: &str, count| format!("[{}]", vec![item; count].join(","));
        check(&many("{}", 10_000), true);
        check(&many("{}", 100_000), false);
        check(&many(r#"{"":0}"#, 100_000), false);
        check(&format!("\"{}\"", "a".repeat(8 << 20)), true);
        check(&many(&format!("\"{}\"", "a".repeat(200)), 100_000), true);
        check("[1, 2", true);
    }
}
