//! `value.name`, `value[index]`, `value[a:b:c]`, as Jinja's sandbox allows them.
//!
//! What the sandbox forbids (methods that change a list or dict) is undefined and an error when it
//! is called; attributes of Python that are not here are an error. Next: `methods.rs`.

use std::rc::Rc;

use super::eval::Vm;
use super::meter::{Outcome, fail};
use super::text::Text;
use super::value::{List, Value};

const DICT: [&str; 5] = ["get", "items", "keys", "values", "copy"];
const DICT_UNSAFE: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const LIST: [&str; 3] = ["count", "index", "copy"];
const LIST_UNSAFE: [&str; 8] =
    ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
/// What Python's types have beyond what is here.
const ABSENT: [&str; 31] = [
    "as_integer_ratio",
    "bit_count",
    "bit_length",
    "catch_kwargs",
    "catch_varargs",
    "close",
    "conjugate",
    "defaults",
    "denominator",
    "explicit_caller",
    "from_bytes",
    "fromhex",
    "fromkeys",
    "gi_code",
    "gi_frame",
    "gi_running",
    "gi_yieldfrom",
    "hex",
    "imag",
    "is_integer",
    "isdisjoint",
    "mapping",
    "numerator",
    "real",
    "send",
    "step",
    "stop",
    "start",
    "throw",
    "to_bytes",
    "unescape",
];
const TEXT: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

fn method(of: &Value, name: &str) -> Value {
    Value::Method(Rc::new(of.clone()), name.into())
}

/// `value.name`.
pub(crate) fn attribute(vm: &Vm<'_>, value: &Value, name: &str) -> Outcome<Value> {
    if let Value::Undefined(why) = value {
        return fail(&**why);
    }
    if let Some(found) = own(vm, value, name)? {
        return Ok(found);
    }
    if let Value::Dict(dict) = value
        && let Some(found) = dict.field(name)
    {
        return Ok(found.clone());
    }
    let kind = value.kind();
    Ok(Value::undefined(format!("'{kind} object' has no attribute {name:?}")))
}

/// `value | attr(name)`: only what the object itself has, no keys.
pub(crate) fn own_only(vm: &Vm<'_>, value: &Value, name: &str) -> Outcome<Value> {
    if let Value::Undefined(why) = value {
        return fail(&**why);
    }
    let why = || format!("'{} object' has no attribute {name:?}", value.kind());
    Ok(own(vm, value, name)?.unwrap_or_else(|| Value::undefined(why())))
}

/// What Python's object itself has by this name.
fn own(vm: &Vm<'_>, value: &Value, name: &str) -> Outcome<Option<Value>> {
    let kind = value.kind();
    let forbidden = || Value::undefined(format!("access to {kind}.{name} is unsafe"));
    if name.starts_with("__") && !matches!(value, Value::Dict(dict) if dict.field(name).is_some()) {
        return Ok(Some(forbidden()));
    }
    Ok(match value {
        Value::Text(_) if TEXT.contains(&name) => Some(method(value, name)),
        Value::Dict(_) if DICT.contains(&name) => Some(method(value, name)),
        Value::Dict(_) if DICT_UNSAFE.contains(&name) => Some(forbidden()),
        Value::Dict(_) if name != "fromkeys" => None,
        Value::List(_) if LIST.contains(&name) => Some(method(value, name)),
        Value::List(_) if LIST_UNSAFE.contains(&name) => Some(forbidden()),
        Value::Tuple(list) if list.is_group && name == "grouper" => list.items.first().cloned(),
        Value::Tuple(list) if list.is_group && name == "list" => list.items.get(1).cloned(),
        Value::Tuple(_) | Value::Range(_) if ["count", "index"].contains(&name) => {
            Some(method(value, name))
        }
        Value::Namespace(fields) => fields.borrow().field(name).cloned(),
        Value::Loop(state) => state.attribute(vm, value, name)?,
        Value::Cycler(cycler) => match name {
            "current" => cycler.items.get(cycler.at.get()).cloned(),
            "next" | "reset" => Some(method(value, name)),
            "items" | "pos" => return fail(format!("cycler.{name} is not supported")),
            _ => None,
        },
        Value::Joiner(joiner) => match name {
            "sep" => Some(joiner.0.clone()),
            "used" => Some(Value::Bool(joiner.1.get())),
            _ => None,
        },
        Value::Macro(closure) => match name {
            "name" => Some(Value::own(&closure.code.name)),
            "arguments" => {
                let names = closure.code.params.iter().map(|(name, _)| Value::own(name));
                Some(Value::tuple(names.collect())?)
            }
            "caller" => Some(Value::Bool(closure.code.uses.caller)),
            _ if ABSENT.contains(&name) => return fail(format!("macro.{name} is not supported")),
            _ => None,
        },
        Value::Function(_) | Value::Method(..) | Value::Markup(_) => {
            return fail(format!("attributes of '{kind}' ({name:?}) are not supported"));
        }
        Value::Text(_) | Value::None => None,
        _ if ABSENT.contains(&name) => return fail(format!("{kind}.{name} is not supported")),
        _ => None,
    })
}

/// `value[index]`.
pub(crate) fn item(vm: &Vm<'_>, value: &Value, index: &Value) -> Outcome<Value> {
    if let Value::Undefined(why) = value {
        return fail(&**why);
    }
    let position = match index {
        Value::Int(int) => Some(*int),
        Value::Bool(bool) => Some((*bool).into()),
        _ => None,
    };
    let found = match value {
        Value::Dict(dict) if super::compare::key(index).is_ok() => dict.get(index)?.cloned(),
        Value::Text(text) => position
            .and_then(|at| place(at, text.len()))
            .map(|at| Value::Text(Text::from(&text.letters()[at..=at]))),
        Value::Markup(_) => return fail("indices of 'Markup' are not supported"),
        Value::List(list) | Value::Tuple(list) => {
            let at = position.and_then(|at| place(at, list.items.len()));
            at.and_then(|at| list.items.get(at)).cloned()
        }
        Value::Range(range) => {
            let at = position.and_then(|at| place(at, range.len));
            at.and_then(|at| range.iter().nth(at))
        }
        _ => None,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    let kind = value.kind();
    if let Value::Text(name) = index {
        let name = name.to_string();
        if let Some(found) = own(vm, value, &name)? {
            return Ok(found);
        }
        return Ok(Value::undefined(format!("'{kind} object' has no attribute {name:?}")));
    }
    let mut shown = Vec::new();
    let printed = super::print::repr(&mut shown, index, vm.meter).map(|()| Text::from(shown));
    let element = printed.map(|text| text.to_string()).unwrap_or_default();
    Ok(Value::undefined(format!("{kind} object has no element {element}")))
}

/// A position from the front.
fn place(at: i128, len: usize) -> Option<usize> {
    let at = if at < 0 { at + len as i128 } else { at };
    usize::try_from(at).ok().filter(|at| *at < len)
}

/// `value[start:stop:step]`.
pub(crate) fn slice(vm: &Vm<'_>, value: &Value, parts: &[Value; 3]) -> Outcome<Value> {
    let len = match value {
        Value::Undefined(why) => return fail(&**why),
        Value::Text(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) => value.len(),
        _ => None,
    };
    if matches!(value, Value::Dict(_)) {
        return fail("a 'dict' cannot be sliced");
    }
    let Some(len) = len else {
        return Ok(Value::undefined(format!("a '{}' cannot be sliced", value.kind())));
    };
    let part = |value: &Value| match value {
        Value::None => Ok(None),
        Value::Int(int) => Ok(Some(*int)),
        Value::Bool(bool) => Ok(Some((*bool).into())),
        _ => Err(Value::undefined("slice indices must be integers or None")),
    };
    let parts = [part(&parts[0]), part(&parts[1]), part(&parts[2])];
    let (start, stop, step) = match parts {
        [Ok(start), Ok(stop), Ok(step)] => (start, stop, step.unwrap_or(1)),
        [Err(undefined), ..] | [_, Err(undefined), _] | [.., Err(undefined)] => {
            return Ok(undefined);
        }
    };
    if step == 0 {
        return fail("slice step cannot be zero");
    }
    let (len_max, forward) = (len as i128, step > 0);
    let bound = |given: Option<i128>, default: i128| {
        let (low, high) = if forward { (0, len_max) } else { (-1, len_max - 1) };
        given.map_or(default, |at| {
            if at < 0 { at.saturating_add(len_max) } else { at }.clamp(low, high)
        })
    };
    let start = bound(start, if forward { 0 } else { len_max - 1 });
    let stop = bound(stop, if forward { len_max } else { -1 });
    let span = if forward { stop - start } else { start - stop };
    let size = step.unsigned_abs();
    let count = match u128::try_from(span) {
        Ok(span) if span > 0 => usize::try_from(span.div_ceil(size)).unwrap_or(0),
        _ => 0,
    };
    let at = |i: usize| usize::try_from(start + step * i as i128).unwrap_or(0);
    if let Value::Text(text) = value {
        vm.meter.letters(count)?;
        let letters = text.letters();
        let made = (0..count).filter_map(|i| letters.get(at(i)).copied());
        return Ok(Value::Text(made.collect()));
    }
    vm.meter.items(count)?;
    match value {
        Value::List(list) | Value::Tuple(list) => {
            let items = (0..count).filter_map(|i| list.items.get(at(i)).cloned()).collect();
            let made = List::new(items)?;
            Ok(if matches!(value, Value::List(_)) { Value::List(made) } else { Value::Tuple(made) })
        }
        _ => fail("slices of 'range' are not supported"),
    }
}
