//! Equality, order and membership, as Python's.
//!
//! Numbers compare by value whatever their type, `True` is 1; what has no order is an error.
//! Next: `operators.rs`.

use std::cmp::Ordering;

use super::meter::{Meter, Outcome, fail};
use super::text::{Letter, Text};
use super::value::{Value, View};

/// Values in a tuple that is a key.
const KEY_MAX: u64 = 1000;

/// What a dict looks up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    None,
    Undefined,
    Int(i128),
    /// A number that is not whole, by its bits.
    Float(u64),
    Text(Text),
    Tuple(Vec<Self>),
}

/// The key of a value.
pub(crate) fn key(value: &Value) -> Outcome<Key> {
    Ok(match value {
        Value::None => Key::None,
        Value::Undefined(_) => Key::Undefined,
        Value::Bool(bool) => Key::Int((*bool).into()),
        Value::Int(int) => Key::Int(*int),
        Value::Float(float) => whole(*float).map_or(Key::Float(float.to_bits()), Key::Int),
        Value::Text(text) | Value::Markup(text) => Key::Text(text.clone()),
        Value::Tuple(list) if list.shape.size > KEY_MAX => {
            return fail(format!("a tuple of more than {KEY_MAX} values cannot be a key"));
        }
        Value::Tuple(list) => Key::Tuple(list.items.iter().map(key).collect::<Outcome<Vec<_>>>()?),
        other => return fail(format!("unhashable type: '{}'", other.kind())),
    })
}

/// The integer a number is, where it is one.
pub(crate) fn whole(float: f64) -> Option<i128> {
    let fits = float.is_finite() && float.fract() == 0.0 && float.abs() < 1.7e38;
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    fits.then_some(float as i128)
}

/// Whether two values are equal.
pub(crate) fn equal(a: &Value, b: &Value, meter: &Meter) -> Outcome<bool> {
    meter.work(1)?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.order(b) == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Value::None, Value::None) | (Value::Undefined(_), Value::Undefined(_)) => true,
        (Value::Text(a) | Value::Markup(a), Value::Text(b) | Value::Markup(b)) => {
            meter.read(if a.len() == b.len() { a.len() } else { 0 })?;
            a == b
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            if a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, meter)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (name, value) in a.entries() {
                match b.get(name)? {
                    Some(other) if equal(value, other, meter)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Range(a), Value::Range(b)) => {
            a.len == b.len && (a.len == 0 || a.start == b.start && (a.len == 1 || a.step == b.step))
        }
        (Value::Namespace(a), Value::Namespace(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::Macro(a), Value::Macro(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::Loop(a), Value::Loop(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::Lazy(a), Value::Lazy(b)) => std::rc::Rc::ptr_eq(a, b),
        (Value::View(..) | Value::Method(..) | Value::Function(_), other)
        | (other, Value::View(..) | Value::Method(..) | Value::Function(_))
            if a.kind() == b.kind() || matches!(other, Value::View(..)) =>
        {
            return fail(format!("comparing '{}' is not supported", a.kind()));
        }
        _ => false,
    })
}

/// Which comes first.
///
/// # Errors
/// Python has no order of these two.
pub(crate) fn order(a: &Value, b: &Value, meter: &Meter) -> Outcome<Option<Ordering>> {
    meter.work(1)?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.order(b));
    }
    match (a, b) {
        (Value::Undefined(why), _) | (_, Value::Undefined(why)) => fail(&**why),
        (Value::Text(a) | Value::Markup(a), Value::Text(b) | Value::Markup(b)) => {
            meter.read(a.len().min(b.len()))?;
            Ok(Some(a.cmp(b)))
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, meter)? {
                    return order(a, b, meter);
                }
            }
            Ok(Some(a.items.len().cmp(&b.items.len())))
        }
        _ => {
            let (a, b) = (a.kind(), b.kind());
            fail(format!("'<' not supported between instances of '{a}' and '{b}'"))
        }
    }
}

/// `item in container`.
pub(crate) fn contains(container: &Value, item: &Value, meter: &Meter) -> Outcome<bool> {
    match container {
        Value::Text(text) | Value::Markup(text) => match item {
            Value::Text(part) | Value::Markup(part) => {
                Ok(find(text.letters(), part.letters(), meter)?.is_some())
            }
            other => {
                fail(format!("'in <string>' requires string as left operand, not {}", other.kind()))
            }
        },
        Value::Dict(dict) | Value::View(View::Keys, dict) => Ok(dict.get(item)?.is_some()),
        Value::Range(range) => match Number::of(item) {
            Some(Number::Int(int)) => Ok(range.contains(int)),
            Some(Number::Float(float)) => Ok(whole(float).is_some_and(|i| range.contains(i))),
            None => Ok(false),
        },
        Value::Lazy(lazy) => {
            while let Some(next) = lazy.next() {
                if equal(item, &next, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        other => {
            for other in other.items(meter)? {
                if equal(item, &other, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// Where `part` first stands.
pub(crate) fn find(text: &[Letter], part: &[Letter], meter: &Meter) -> Outcome<Option<usize>> {
    let Some((first, rest)) = part.split_first() else { return Ok(Some(0)) };
    let Some(last) = text.len().checked_sub(part.len()) else { return Ok(None) };
    meter.read(text.len())?;
    let mut at = 0;
    while at <= last {
        let Some(next) = text[at..=last].iter().position(|l| l == first) else { return Ok(None) };
        at += next;
        let tail = &text[at + 1..at + part.len()];
        let same = tail.iter().zip(rest).take_while(|(a, b)| a == b).count();
        if same == rest.len() {
            return Ok(Some(at));
        }
        meter.work(same / 8)?;
        at += 1;
    }
    Ok(None)
}

/// A number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(bool) => Some(Self::Int((*bool).into())),
            Value::Int(int) => Some(Self::Int(*int)),
            Value::Float(float) => Some(Self::Float(*float)),
            _ => None,
        }
    }

    pub(crate) fn float(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "as Python's float()")]
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Float(a), Self::Int(_)) => other.order(Self::Float(a)).map(Ordering::reverse),
            (Self::Int(a), Self::Float(b)) => match whole(b.floor()) {
                Some(floor) if a == floor && b.fract() != 0.0 => Some(Ordering::Less),
                Some(floor) => Some(a.cmp(&floor)),
                None => 0.0.partial_cmp(&b),
            },
        }
    }
}

/// A stable sort that may fail. The order may be as broken as a template makes it.
pub(crate) fn sort<T: Clone>(
    items: Vec<T>,
    is_less: &mut dyn FnMut(&T, &T) -> Outcome<bool>,
) -> Outcome<Vec<T>> {
    if items.len() < 2 {
        return Ok(items);
    }
    let mut left = items;
    let right = left.split_off(left.len() / 2);
    let (left, right) = (sort(left, is_less)?, sort(right, is_less)?);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if is_less(b, a)? { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left.chain(right));
    Ok(merged)
}
