//! Filters that apply another filter or a test to each item. Next: `items.rs`.

use super::items::Getter;
use crate::jinja::arguments::Given;
use crate::jinja::checks;
use crate::jinja::eval::Vm;
use crate::jinja::meter::{Outcome, fail};
use crate::jinja::value::Value;

pub(super) fn apply(vm: &Vm<'_>, filter: &str, value: &Value, mut given: Given) -> Outcome<Value> {
    // Jinja gives nothing for whatever is false, `None` too.
    if !value.is_true() {
        return Value::lazy(Vec::new());
    }
    let items = value.items(vm.meter)?;
    if filter == "map" {
        return map(vm, items, given).and_then(Value::lazy);
    }
    let getter = match filter {
        "selectattr" | "rejectattr" if given.positional.is_empty() => {
            return fail(format!("{filter} misses the name of an attribute"));
        }
        "selectattr" | "rejectattr" => Getter::new(given.positional.remove(0), None)?,
        _ => Getter::default(),
    };
    let rejects = filter.starts_with("reject");
    let test = name(filter, &mut given)?;
    if test.is_none()
        && let Some((name, _)) = given.named.first()
    {
        return fail(format!("{filter} has no argument {name:?}"));
    }
    let mut kept = Vec::new();
    for item in items {
        let found = getter.get(vm, &item)?;
        let passes = match &test {
            None => found.is_true(),
            Some(test) => checks::apply(vm, test, &found, copy(&given))?,
        };
        if passes != rejects {
            kept.push(item);
        }
    }
    Value::lazy(kept)
}

fn map(vm: &Vm<'_>, items: Vec<Value>, mut given: Given) -> Outcome<Vec<Value>> {
    let Some(filter) = name("map", &mut given)? else {
        let Some(attribute) = given.take("attribute") else {
            return fail("map misses a filter or an attribute");
        };
        let getter = Getter::new(attribute, given.take("default"))?;
        if let Some((name, _)) = given.named.first() {
            return fail(format!("map has no argument {name:?}"));
        }
        return items.iter().map(|item| getter.get(vm, item)).collect();
    };
    let apply = |item: Value| super::apply(vm, &filter, item, copy(&given));
    items.into_iter().map(apply).collect()
}

/// Takes the name of a filter or test, which stands first.
fn name(filter: &str, given: &mut Given) -> Outcome<Option<String>> {
    if given.positional.is_empty() {
        return Ok(None);
    }
    match given.positional.remove(0) {
        Value::Text(name) => Ok(Some(name.to_string())),
        other => fail(format!("{filter}: a name must be a string, not '{}'", other.kind())),
    }
}

fn copy(given: &Given) -> Given {
    Given { positional: given.positional.clone(), named: given.named.clone() }
}
