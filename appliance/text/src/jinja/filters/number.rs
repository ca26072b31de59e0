//! Filters that make numbers. Next: `choose.rs`.

use crate::jinja::arguments::Given;
use crate::jinja::ast::Operator;
use crate::jinja::compare::{Number, whole};
use crate::jinja::eval::Vm;
use crate::jinja::meter::{Outcome, fail};
use crate::jinja::number::{parse_float, parse_int};
use crate::jinja::operators::binary;
use crate::jinja::print;
use crate::jinja::value::Value;

const TOO_LARGE: &str = "integers beyond 127 bits are not supported";

pub(super) fn apply(
    vm: &Vm<'_>,
    name: &str,
    what: &str,
    value: &Value,
    given: Given,
) -> Outcome<Value> {
    match name {
        "abs" => {
            given.bind(what, [], 0)?;
            match Number::of(value) {
                Some(Number::Int(int)) => match int.checked_abs() {
                    Some(int) => Ok(Value::Int(int)),
                    None => fail(TOO_LARGE),
                },
                Some(Number::Float(float)) => Ok(Value::Float(float.abs())),
                None => fail(format!("bad operand type for abs(): '{}'", value.kind())),
            }
        }
        "int" => {
            let mut args = given.bind(what, ["default", "base"], 0)?;
            let default = args.value(0).unwrap_or(Value::Int(0));
            let base = args.int(1)?.unwrap_or(10);
            let made = int(vm, value, base)?;
            Ok(made.map_or(default, Value::Int))
        }
        "float" => {
            let default = given.bind(what, ["default"], 0)?.value(0);
            let default = default.unwrap_or(Value::Float(0.0));
            Ok(float(vm, value)?.map_or(default, Value::Float))
        }
        "round" => round(vm, what, value, given),
        _ => {
            let binary = given.bind(what, ["binary"], 0)?.is_true(0, false);
            let Some(bytes) = float(vm, value)? else {
                return fail("filesizeformat needs a number");
            };
            filesize(bytes, binary).map(|text| Value::own(&text))
        }
    }
}

/// `float(value)`, where Python has one.
fn float(vm: &Vm<'_>, value: &Value) -> Outcome<Option<f64>> {
    Ok(match value {
        Value::Undefined(why) => return fail(&**why),
        Value::Text(text) => {
            vm.meter.letters(text.len())?;
            vm.meter.classes(text.letters())?;
            parse_float(&text.to_string())
        }
        other => Number::of(other).map(Number::float),
    })
}

/// `int(value)`, where Python has one, or that of its float.
fn int(vm: &Vm<'_>, value: &Value, base: i128) -> Outcome<Option<i128>> {
    let of_float = |float: f64| match whole(float.trunc()) {
        Some(int) => Ok(Some(int)),
        None if float.is_nan() => Ok(None),
        None => fail(TOO_LARGE),
    };
    if let Value::Text(text) = value {
        vm.meter.letters(text.len())?;
        vm.meter.classes(text.letters())?;
        let text = text.to_string();
        let base = u32::try_from(base).ok().filter(|base| *base == 0 || (2..=36).contains(base));
        if let Some(base) = base {
            match parse_int(&text, base) {
                Ok(Some(int)) => return Ok(Some(int)),
                Ok(None) => {}
                Err(()) => return fail(TOO_LARGE),
            }
        }
        return match parse_float(&text) {
            Some(float) if float.is_finite() => of_float(float),
            _ => Ok(None),
        };
    }
    match (value, Number::of(value)) {
        (Value::Undefined(why), _) => fail(&**why),
        (_, Some(Number::Int(int))) => Ok(Some(int)),
        (_, Some(Number::Float(float))) => of_float(float),
        _ => Ok(None),
    }
}

fn round(vm: &Vm<'_>, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let mut args = given.bind(what, ["precision", "method"], 0)?;
    let precision = args.value(0).unwrap_or(Value::Int(0));
    let method = args.value(1).map(|method| print::text(&method, vm.meter)).transpose()?;
    let method = method.map_or_else(|| "common".to_owned(), |method| method.to_string());
    if !["common", "ceil", "floor"].contains(&method.as_str()) {
        return fail("method must be common, ceil or floor");
    }
    let Some(number) = Number::of(value) else {
        return fail(format!("round needs a number, not '{}'", value.kind()));
    };
    if method != "common" {
        let scale = binary(Operator::Pow, &Value::Int(10), &precision, vm.meter)?;
        let scaled = binary(Operator::Mul, value, &scale, vm.meter)?;
        let scaled = match Number::of(&scaled) {
            Some(Number::Int(int)) => Some(int),
            Some(Number::Float(f)) => whole(if method == "ceil" { f.ceil() } else { f.floor() }),
            None => None,
        };
        let Some(scaled) = scaled else { return fail(TOO_LARGE) };
        return binary(Operator::Div, &Value::Int(scaled), &scale, vm.meter);
    }
    let Value::Int(places) = precision else {
        return fail("round: the precision must be an integer");
    };
    match number {
        Number::Int(int) if places >= 0 => Ok(Value::Int(int)),
        _ if places < 0 => fail("round with a negative precision is not supported"),
        Number::Int(_) => fail(TOO_LARGE),
        // A number has no more than 1,074 digits behind the point.
        Number::Float(float) if !float.is_finite() || places > 1000 => Ok(Value::Float(float)),
        Number::Float(float) => {
            let places = usize::try_from(places).unwrap_or(0);
            Ok(Value::Float(format!("{float:.places$}").parse().unwrap_or(float)))
        }
    }
}

fn filesize(bytes: f64, binary: bool) -> Outcome<String> {
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    let Some(count) = whole(bytes.trunc()) else {
        return fail("filesizeformat needs a finite number");
    };
    if bytes == 1.0 {
        return Ok("1 Byte".to_owned());
    }
    if bytes < base {
        return Ok(format!("{count} Bytes"));
    }
    let (mut unit, mut found) = (base, 'k');
    for letter in "KMGTPEZY".chars() {
        unit *= base;
        found = letter;
        if bytes < unit {
            break;
        }
    }
    let prefix = match (found, binary) {
        ('K', false) => "kB".to_owned(),
        (letter, false) => format!("{letter}B"),
        (letter, true) => format!("{letter}iB"),
    };
    Ok(format!("{:.1} {prefix}", base * bytes / unit))
}
