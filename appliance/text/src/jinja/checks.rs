//! Jinja's tests (`x is …`). Next: `filters.rs`.

use super::arguments::Given;
use super::ast::Comparison;
use super::compare::Number;
use super::eval::Vm;
use super::meter::{Outcome, fail};
use super::value::Value;
use super::{filters, print};

const NAMES: [&str; 41] = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
    "le",
    "ge",
];

/// `value is name(…)`.
pub(crate) fn apply(vm: &Vm<'_>, name: &str, value: &Value, given: Given) -> Outcome<bool> {
    let what = format!("the test {name:?}");
    let comparison = match name {
        "eq" | "equalto" | "==" => Some(Comparison::Eq),
        "ne" | "!=" => Some(Comparison::Ne),
        "lt" | "lessthan" | "<" => Some(Comparison::Lt),
        "le" | "<=" => Some(Comparison::Le),
        "gt" | "greaterthan" | ">" => Some(Comparison::Gt),
        "ge" | ">=" => Some(Comparison::Ge),
        "in" => Some(Comparison::In),
        _ => None,
    };
    if let Some(comparison) = comparison {
        let other = given.bind(&what, ["/value"], 1)?.get(0);
        return vm.holds(comparison, value, &other);
    }
    match name {
        "divisibleby" => {
            let divisor = given.bind(&what, ["num"], 1)?.get(0);
            return rest(vm, value, &divisor).map(|rest| rest == 0.0);
        }
        "sameas" => {
            let other = given.bind(&what, ["other"], 1)?.get(0);
            return same(value, &other);
        }
        _ => {}
    }
    given.bind(&what, [], 0)?;
    plain(vm, name, value)
}

/// Tests without arguments.
fn plain(vm: &Vm<'_>, name: &str, value: &Value) -> Outcome<bool> {
    let is_text = matches!(value, Value::Text(_) | Value::Markup(_));
    let known = |known: &dyn Fn(&str) -> bool| match value {
        Value::Text(name) => Ok(known(&name.to_string())),
        other => fail(format!("a name must be a string, not '{}'", other.kind())),
    };
    Ok(match name {
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Value::None),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "boolean" => matches!(value, Value::Bool(_)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => Number::of(value).is_some(),
        "string" => is_text,
        "mapping" => matches!(value, Value::Dict(_)),
        "escaped" => matches!(value, Value::Markup(_)),
        "callable" => matches!(
            value,
            Value::Macro(_)
                | Value::Function(_)
                | Value::Method(..)
                | Value::Joiner(_)
                | Value::Loop(_)
                // Jinja's undefined values have `__call__`, which only raises.
                | Value::Undefined(_)
        ),
        "iterable" => value.len().is_some() || matches!(value, Value::Lazy(_) | Value::Loop(_)),
        // What has a length and `[…]`.
        "sequence" => !matches!(value, Value::View(..)) && value.len().is_some(),
        "odd" => rest(vm, value, &Value::Int(2))? == 1.0,
        "even" => rest(vm, value, &Value::Int(2))? == 0.0,
        "lower" | "upper" => {
            let text = print::text(value, vm.meter)?;
            vm.meter.classes(text.letters())?;
            let (mut right, mut wrong) = (false, false);
            for letter in text.chars() {
                let (is_right, is_wrong) = match name {
                    "lower" => (letter.is_lowercase(), letter.is_uppercase()),
                    _ => (letter.is_uppercase(), letter.is_lowercase()),
                };
                right |= is_right;
                wrong |= is_wrong || super::letters::is_title(letter);
            }
            right && !wrong
        }
        "filter" => known(&filters::is_known)?,
        "test" => known(&|name| NAMES.contains(&name))?,
        other => return fail(format!("there is no test {other:?}")),
    })
}

fn rest(vm: &Vm<'_>, value: &Value, divisor: &Value) -> Outcome<f64> {
    let rest = super::operators::binary(super::ast::Operator::Mod, value, divisor, vm.meter)?;
    Ok(Number::of(&rest).map_or(f64::NAN, Number::float))
}

/// `is`: whether it is the same object, where that is certain.
fn same(a: &Value, b: &Value) -> Outcome<bool> {
    use std::rc::Rc;
    Ok(match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        // Python keeps one object of each small integer.
        (Value::Int(a), Value::Int(b)) if a != b || (-5..=256).contains(a) => a == b,
        (Value::Text(a), Value::Text(b)) if a.is_same(b) || a != b => a.is_same(b),
        (Value::List(a), Value::List(b)) => Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
        (a, b) if a.kind() == b.kind() => {
            return fail(format!("'sameas' of two '{}' is not supported", a.kind()));
        }
        _ => false,
    })
}
