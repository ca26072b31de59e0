//! Methods of lists, tuples, ranges and dicts that change nothing. Next: `filters.rs`.

use std::rc::Rc;

use super::arguments::Given;
use super::compare::equal;
use super::meter::{Meter, Outcome, fail};
use super::value::{Dict, Value, View};

pub(crate) fn dict_method(
    dict: &Rc<Dict>,
    name: &str,
    given: Given,
    meter: &Meter,
) -> Outcome<Value> {
    let what = format!("dict.{name}");
    if name == "get" {
        let mut args = given.bind(&what, ["/key", "/default"], 1)?;
        let found = dict.get(&args.get(0))?.cloned();
        return Ok(found.unwrap_or_else(|| args.get(1)));
    }
    given.bind(&what, [], 0)?;
    let view = |view| Ok(Value::View(view, Rc::clone(dict)));
    match name {
        "items" => view(View::Items),
        "keys" => view(View::Keys),
        "values" => view(View::Values),
        _ => {
            meter.items(2 * dict.len())?;
            Ok(Value::Dict(Rc::new(Dict::clone(dict))))
        }
    }
}

pub(crate) fn list_method(of: &Value, name: &str, given: Given, meter: &Meter) -> Outcome<Value> {
    let what = format!("{}.{name}", of.kind());
    if name == "copy" {
        given.bind(&what, [], 0)?;
        return Ok(of.clone());
    }
    let items = of.items(meter)?;
    if name == "count" {
        let wanted = given.bind(&what, ["/value"], 1)?.get(0);
        let mut count = 0;
        for item in &items {
            count += i128::from(equal(item, &wanted, meter)?);
        }
        return Ok(Value::Int(count));
    }
    let mut args = given.bind(&what, ["/value", "/start", "/stop"], 1)?;
    let wanted = args.get(0);
    let (start, stop) = bounds(args.int(1)?, args.int(2)?, items.len());
    for (at, item) in items.iter().enumerate().take(stop).skip(start) {
        if equal(item, &wanted, meter)? {
            return Ok(Value::Int(at as i128));
        }
    }
    fail(format!("{what}: the value is not in it"))
}

/// Bounds as Python's methods take them: negative from the end, beyond cut.
pub(crate) fn bounds(start: Option<i128>, stop: Option<i128>, len: usize) -> (usize, usize) {
    let place = |at: i128| {
        let at = if at < 0 { at.saturating_add(len as i128) } else { at };
        usize::try_from(at.clamp(0, i128::MAX)).unwrap_or(usize::MAX)
    };
    (start.map_or(0, place), stop.map_or(len, place).min(len))
}
