//! A JSON object whose members are taken by name; what is left over is told.
//!
//! No tree is made of a body: members that a schema knows are kept as the bytes they stand in and
//! turned into their type when they are taken, once; all others are skipped. So a body costs about
//! its bytes, whatever they say. Which names there are stands in `names.rs`; a schema's structs know
//! its fields, this knows none. Next: `members.rs`.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fault::{Fault, Kind};
use crate::names::{self, Scope, Verdict};

/// Bytes of names in the header that tells what was ignored.
const IGNORED_BYTES_MAX: usize = 512;
/// Names that are kept for it.
const IGNORED_MAX: usize = 32;
/// Letters of a name that are shown.
const NAME_LETTERS_MAX: usize = 64;

/// The members of an object that are not taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    body: Bytes,
    /// Names the schemas know, with where their values stand.
    members: Vec<(&'static str, Range<usize>)>,
    /// Names that no schema knows, as far as they are told.
    unknown: Vec<String>,
    /// Where they stand, for messages: empty or `parameters.`.
    prefix: &'static str,
}

impl Fields {
    /// The fields of a body; a byte order mark before it is none of its content.
    pub(crate) fn parse(mut body: Bytes) -> Result<Self, Fault> {
        if body.starts_with(b"\xef\xbb\xbf") {
            body = body.slice(3..);
        }
        match body.iter().find(|b| !b.is_ascii_whitespace()) {
            Some(b'{') => Self::of_object(body, ""),
            first => {
                let valid: Result<IgnoredAny, _> = serde_json::from_slice(&body);
                Err(match valid {
                    Err(error) => not_json(&error),
                    Ok(_) => {
                        let kind = first.map_or("nothing", |b| kind_of_first(*b));
                        let message = format!("the body must be a JSON object, not {kind}");
                        Fault::new(Kind::Invalid, message)
                    }
                })
            }
        }
    }

    fn of_object(body: Bytes, prefix: &'static str) -> Result<Self, Fault> {
        let scan = Scan { members: Vec::new(), unknown: Vec::new() };
        let start = body.as_ptr() as usize;
        let mut reader = serde_json::Deserializer::from_slice(&body);
        let scan = reader.deserialize_map(scan).and_then(|scan| reader.end().map(|()| scan));
        let Scan { members, unknown } = scan.map_err(|e| not_json(&e))?;
        let place = |(name, value): (&'static str, &RawValue)| {
            let from = value.get().as_ptr() as usize - start;
            (name, from..from + value.get().len())
        };
        let members = members.into_iter().map(place).collect();
        Ok(Self { body, members, unknown, prefix })
    }

    fn empty(body: Bytes, prefix: &'static str) -> Self {
        Self { body, members: Vec::new(), unknown: Vec::new(), prefix }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|value| value != b"null")
    }

    /// True if a member is a list that begins with an object.
    pub(crate) fn is_list_of_objects(&self, name: &str) -> bool {
        let mut letters = self.raw(name).into_iter().flatten().filter(|b| !b.is_ascii_whitespace());
        letters.next() == Some(&b'[') && letters.next() == Some(&b'{')
    }

    fn raw(&self, name: &str) -> Option<&[u8]> {
        let (_, at) = self.members.iter().find(|(known, _)| *known == name)?;
        self.body.get(at.clone())
    }

    /// Takes a member: where its bytes stand. `null` is as good as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Range<usize>> {
        debug_assert!(names::is_known(name), "{name} stands in no table");
        let index = self.members.iter().position(|(known, _)| *known == name)?;
        let (_, at) = self.members.remove(index);
        (self.body.get(at.clone()) != Some(b"null")).then_some(at)
    }

    /// What the members stand in.
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// What messages put before a member's name.
    pub(crate) fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// A nested object whose members are fields too, and what `read` makes of them; what it leaves is
    /// told with the rest.
    pub(crate) fn nested<T>(
        &mut self,
        name: &str,
        prefix: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let value = self.take(name).map(|at| self.body.slice(at));
        let mut fields = match value {
            None => Self::empty(Bytes::new(), prefix),
            Some(value) if value.starts_with(b"{") => Self::of_object(value, prefix)?,
            Some(value) => {
                let field = format!("{}{name}", self.prefix);
                let what = format!("must be an object, not {}", kind_of(&value));
                return Err(Fault::field(&field, what));
            }
        };
        let read = read(&mut fields)?;
        self.unknown.extend(fields.ignored().take(IGNORED_MAX));
        Ok(read)
    }

    /// Refuses every field that asks for what this version cannot do here, whatever the schema;
    /// values that ask for nothing are taken.
    pub(crate) fn refuse_unsupported(&mut self, scope: Scope) -> Result<(), Fault> {
        let mut index = 0;
        while let Some((name, at)) = self.members.get(index) {
            let Verdict::Refused(neutral) = names::verdict(name, scope) else {
                index += 1;
                continue;
            };
            let value = self.body.get(at.clone()).unwrap_or_default();
            if !neutral.holds(value) {
                return Err(Fault::unsupported(&format!("{}{name}", self.prefix)));
            }
            self.members.remove(index);
        }
        Ok(())
    }

    /// Refuses fields that have their effect in another object.
    pub(crate) fn refuse_misplaced(&self, scope: Scope, object: &str) -> Result<(), Fault> {
        let mut names = self.members.iter().map(|(name, _)| *name);
        let is_misplaced =
            |name: &&str| self.has(name) && names::verdict(name, scope) == Verdict::Misplaced;
        match names.find(is_misplaced) {
            Some(name) => Err(Fault::field(name, format!("belongs into {object}"))),
            None => Ok(()),
        }
    }

    /// Tells a member of a member that had no effect.
    pub(crate) fn ignore(&mut self, name: &str) {
        self.unknown.push(name.to_owned());
    }

    /// Names of what was not taken, for the header; letters that a header cannot have are dropped.
    pub(crate) fn ignored(&self) -> impl Iterator<Item = String> {
        let known = self.members.iter().map(|(name, _)| (*name).to_owned());
        let names = known.chain(self.unknown.iter().cloned());
        names.map(move |name| format!("{}{name}", self.prefix))
    }
}

/// What an error of our own types begins with.
pub(crate) const OWN_WORDS: &str = "\u{1}";

fn not_json(error: &serde_json::Error) -> Fault {
    Fault::new(Kind::Invalid, format!("the body is not JSON: {error}"))
}

/// Goes over an object once.
struct Scan<'de> {
    members: Vec<(&'static str, &'de RawValue)>,
    unknown: Vec<String>,
}

impl<'de> Visitor<'de> for Scan<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match names::known(&name) {
                Some(known) => {
                    let value: &'de RawValue = map.next_value()?;
                    // As everywhere, the last of two members of one name counts.
                    self.members.retain(|(name, _)| *name != known);
                    self.members.push((known, value));
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                    let plain = |c: &char| c.is_ascii_graphic() && *c != ',';
                    if self.unknown.len() < IGNORED_MAX {
                        let name = name.chars().filter(plain).take(NAME_LETTERS_MAX).collect();
                        self.unknown.push(name);
                    }
                }
            }
        }
        Ok(self)
    }
}

/// A name, copied only where it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value of `x-gimbal-ignored`.
pub(crate) fn ignored_header(names: impl Iterator<Item = String>) -> Option<String> {
    let mut header = String::new();
    for name in names {
        if header.len() + name.len() + 5 > IGNORED_BYTES_MAX {
            header.push_str(", ...");
            break;
        }
        if !header.is_empty() {
            header.push_str(", ");
        }
        header.push_str(&name);
    }
    (!header.is_empty()).then_some(header)
}

/// What is wrong with a value. What our own types say of it is better than its kind.
pub(crate) fn wrong(value: &[u8], said: &str) -> String {
    if let Some(own) = said.strip_prefix(OWN_WORDS) {
        return own.to_owned();
    }
    let expected = said.rsplit_once(", expected ").map(|(_, expected)| expected);
    match said.strip_prefix("expected ").or(expected) {
        Some(expected) => format!("must be {expected}, not {}", kind_of(value)),
        None => format!("is broken: {said}"),
    }
}

/// What a value is, in words.
fn kind_of(value: &[u8]) -> &'static str {
    value.first().map_or("nothing", |first| kind_of_first(*first))
}

fn kind_of_first(first: u8) -> &'static str {
    match first {
        b'n' => "null",
        b't' | b'f' => "a boolean",
        b'"' => "a string",
        b'[' => "a list",
        b'{' => "an object",
        _ => "a number of another kind",
    }
}
