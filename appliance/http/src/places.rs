//! Members of trees, read by hand: what is wrong with one is told with its place.
//!
//! For bodies that are no structs: lists of blocks and items of many kinds. Next: `anthropic/`.

use serde_json::{Map, Value};

use crate::fault::{Fault, Kind};

/// Letters of a client's word that an error repeats.
const SHOWN_MAX: usize = 64;

/// An object's members.
pub(crate) type Members = Map<String, Value>;

/// A value that must be an object.
pub(crate) fn object(at: &str, value: Value) -> Result<Members, Fault> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Fault::field(at, "must be an object")),
    }
}

/// A member that must be a text.
pub(crate) fn text(at: &str, members: &Members, name: &str) -> Result<String, Fault> {
    let text = members.get(name).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| Fault::field(&format!("{at}.{name}"), "must be a string"))
}

/// A member that is true or false; false where it is not there.
pub(crate) fn flag(at: &str, members: &Members, name: &str) -> Result<bool, Fault> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Fault::field(&format!("{at}.{name}"), "must be true or false")),
    }
}

/// Refuses members of other names: what is not known could mean something.
pub(crate) fn known(at: &str, members: &Members, names: &[&str]) -> Result<(), Fault> {
    let is_odd =
        |(name, value): &(&String, &Value)| !names.contains(&name.as_str()) && !value.is_null();
    match members.iter().find(is_odd) {
        None => Ok(()),
        Some((name, _)) => {
            let name: String = name.chars().take(SHOWN_MAX).collect();
            Err(Fault::unsupported(&format!("{at}.{name}")))
        }
    }
}

/// Refuses a kind of something that this version cannot do.
pub(crate) fn refused(at: &str, kind: &str) -> Fault {
    let kind: String = kind.chars().take(SHOWN_MAX).collect();
    let fault = Fault::new(Kind::Unsupported, format!("{at}: {kind:?} is not supported"));
    Fault { field: Some(at.to_owned()), ..fault }
}
