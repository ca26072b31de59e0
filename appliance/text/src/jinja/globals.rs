//! Functions that every template knows: Jinja's and those that `transformers` adds.
//!
//! `lipsum` is refused: a prompt has no place for random text. Next: `clock.rs`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::arguments::Given;
use super::clock::strftime;
use super::eval::Vm;
use super::exec::set_field;
use super::meter::{Outcome, fail};
use super::print;
use super::value::{Cycler, Dict, Range, Value};

const NAMES: [&str; 8] =
    ["range", "dict", "namespace", "cycler", "joiner", "lipsum", "raise_exception", "strftime_now"];
/// As Jinja's sandbox.
const RANGE_MAX: u128 = 100_000;

/// The name of a function, where there is one.
pub(crate) fn find(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name)
}

/// Calls one by its name.
pub(crate) fn call(vm: &Vm<'_>, name: &str, given: Given) -> Outcome<Value> {
    match name {
        "range" => range(given),
        "dict" => dict(vm, given).map(|dict| Value::Dict(Rc::new(dict))),
        "namespace" => {
            let mut fields = Dict::default();
            for (name, value) in dict(vm, given)?.entries() {
                let name = print::text(name, vm.meter)?.to_string();
                set_field(&mut fields, &name, value.clone())?;
            }
            Ok(Value::Namespace(Rc::new(RefCell::new(fields))))
        }
        "cycler" => {
            if let Some((name, _)) = given.named.first() {
                return fail(format!("cycler has no argument {name:?}"));
            }
            if given.positional.is_empty() {
                return fail("at least one item has to be provided");
            }
            let items = given.positional;
            Ok(Value::Cycler(Rc::new(Cycler { items, at: Cell::new(0) })))
        }
        "joiner" => {
            let separator = given.bind("joiner", ["sep"], 0)?.value(0);
            let separator = separator.unwrap_or_else(|| Value::own(", "));
            Ok(Value::Joiner(Rc::new((separator, Cell::new(false)))))
        }
        "raise_exception" => {
            let message = given.bind("raise_exception", ["message"], 1)?.get(0);
            fail(print::text(&message, vm.meter)?.to_string())
        }
        "strftime_now" => {
            let format = given.bind("strftime_now", ["format"], 1)?.need_text(0)?;
            vm.meter.letters(format.len().saturating_mul(16))?;
            strftime(&format.to_string(), vm.now_unix).map(|text| Value::own(&text))
        }
        other => fail(format!("the function {other:?} is not supported")),
    }
}

fn range(given: Given) -> Outcome<Value> {
    let one = given.positional.len() < 2;
    let mut args = given.bind("range", ["/start", "/stop", "/step"], 1)?;
    let (first, second, step) = (args.int(0)?, args.int(1)?, args.int(2)?.unwrap_or(1));
    let (start, stop) = if one { (Some(0), first) } else { (first, second) };
    let (start, stop) = (start.unwrap_or(0), stop.unwrap_or(0));
    if step == 0 {
        return fail("range() arg 3 must not be zero");
    }
    let far = i128::MAX / 4;
    if [start, stop, step].iter().any(|int| int.abs() > far) {
        return fail("a range beyond 125 bits is not supported");
    }
    let span = if step > 0 { stop - start } else { start - stop };
    let len = u128::try_from(span).unwrap_or(0).div_ceil(step.unsigned_abs());
    if len > RANGE_MAX {
        return fail(format!("Range too big. The sandbox blocks ranges larger than {RANGE_MAX}."));
    }
    let len = usize::try_from(len).unwrap_or(0);
    Ok(Value::Range(Range { start, stop, step, len }))
}

/// `dict(mapping or pairs, **more)`.
fn dict(vm: &Vm<'_>, mut given: Given) -> Outcome<Dict> {
    let named = std::mem::take(&mut given.named);
    let first = given.bind("dict", ["/mapping"], 0)?.value(0);
    let mut dict = Dict::default();
    match first {
        None => {}
        Some(Value::Dict(other)) => {
            vm.meter.items(2 * other.len())?;
            dict = Dict::clone(&other);
        }
        Some(other) => {
            for pair in other.items(vm.meter)? {
                let pair = pair.items(vm.meter)?;
                let [name, value] = pair.as_slice() else {
                    return fail("dict: each element must have two values");
                };
                dict.insert(name.clone(), value.clone())?;
            }
        }
    }
    vm.meter.items(2 * named.len())?;
    for (name, value) in named {
        dict.insert(Value::own(&name), value)?;
    }
    Ok(dict)
}
