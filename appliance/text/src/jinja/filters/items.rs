//! Filters of lists and of whatever else has items. Next: `text.rs`.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::rc::Rc;

use crate::jinja::access;
use crate::jinja::arguments::{Given, count};
use crate::jinja::ast::Operator;
use crate::jinja::compare::{equal, key, order, sort};
use crate::jinja::eval::Vm;
use crate::jinja::letters::lower;
use crate::jinja::meter::{Outcome, fail};
use crate::jinja::operators::binary;
use crate::jinja::print;
use crate::jinja::text::{Text, is_space};
use crate::jinja::value::{List, Value, View};

/// Looks up `a.0.b` in items.
#[derive(Debug, Default)]
pub(super) struct Getter {
    parts: Vec<Value>,
    default: Option<Value>,
}

impl Getter {
    pub(super) fn new(attribute: Value, default: Option<Value>) -> Outcome<Self> {
        let part = |part: &str| match part.parse::<i128>() {
            Ok(index) if part.bytes().all(|b| b.is_ascii_digit()) => Value::Int(index),
            _ => Value::own(part),
        };
        let parts = match attribute {
            Value::None => Vec::new(),
            Value::Text(text) => text.to_string().split('.').map(part).collect(),
            index @ Value::Int(_) => vec![index],
            other => {
                let kind = other.kind();
                return fail(format!("an attribute must be a name or a number, not '{kind}'"));
            }
        };
        Ok(Self { parts, default: default.filter(|value| !matches!(value, Value::None)) })
    }

    fn many(attribute: Option<Value>) -> Outcome<Vec<Self>> {
        match attribute {
            Some(Value::Text(text)) => {
                let parts = text.to_string();
                parts.split(',').map(|part| Self::new(Value::own(part), None)).collect()
            }
            other => Ok(vec![Self::new(other.unwrap_or(Value::None), None)?]),
        }
    }

    pub(super) fn get(&self, vm: &Vm<'_>, item: &Value) -> Outcome<Value> {
        vm.meter.work(2 + 4 * self.parts.len())?;
        let mut value = item.clone();
        for part in &self.parts {
            value = access::item(vm, &value, part)?;
            if let (true, Some(default)) = (value.is_undefined(), &self.default) {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

/// Text in lower case, unless case counts.
fn folded(vm: &Vm<'_>, value: Value, case_sensitive: bool) -> Outcome<Value> {
    match value {
        Value::Text(text) if !case_sensitive => {
            vm.meter.letters(text.len())?;
            vm.meter.classes(text.letters())?;
            Ok(Value::Text(lower(text.letters())))
        }
        other => Ok(other),
    }
}

fn is_less(vm: &Vm<'_>, a: &[Value], b: &[Value]) -> Outcome<bool> {
    for (a, b) in a.iter().zip(b) {
        if !equal(a, b, vm.meter)? {
            return Ok(order(a, b, vm.meter)? == Some(Ordering::Less));
        }
    }
    Ok(false)
}

/// Sorts by keys, as `sorted`: stable, in reverse too.
pub(super) fn sorted_by_key(
    vm: &Vm<'_>,
    mut items: Vec<Value>,
    reverse: bool,
    mut key: impl FnMut(&Value) -> Outcome<Vec<Value>>,
) -> Outcome<Vec<Value>> {
    vm.meter.items(2 * items.len())?;
    if reverse {
        items.reverse();
    }
    let keyed = items.into_iter().map(|item| Ok((key(&item)?, item)));
    let keyed = keyed.collect::<Outcome<Vec<_>>>()?;
    let mut sorted = sort(keyed, &mut |a, b| {
        vm.meter.work(12)?;
        is_less(vm, &a.0, &b.0)
    })?;
    if reverse {
        sorted.reverse();
    }
    Ok(sorted.into_iter().map(|(_, item)| item).collect())
}

pub(super) fn apply(
    vm: &Vm<'_>,
    name: &str,
    what: &str,
    value: &Value,
    given: Given,
) -> Outcome<Value> {
    match name {
        "first" | "last" | "length" | "count" | "list" | "reverse" | "items" => {
            given.bind(what, [], 0)?;
            plain(vm, name, value)
        }
        "join" => join(vm, what, value, given),
        "sum" => {
            let mut args = given.bind(what, ["attribute", "start"], 0)?;
            let getter = Getter::new(args.get(0), None)?;
            let mut sum = args.value(1).unwrap_or(Value::Int(0));
            if matches!(sum, Value::Text(_)) {
                return fail("sum() can't sum strings");
            }
            for item in value.items(vm.meter)? {
                sum = binary(Operator::Add, &sum, &getter.get(vm, &item)?, vm.meter)?;
            }
            Ok(sum)
        }
        "min" | "max" => extreme(vm, what, value, given, name == "max"),
        "sort" => {
            let mut args = given.bind(what, ["reverse", "case_sensitive", "attribute"], 0)?;
            let (reverse, case) = (args.is_true(0, false), args.is_true(1, false));
            let getters = Getter::many(args.value(2))?;
            let items = value.items(vm.meter)?;
            let sorted = sorted_by_key(vm, items, reverse, |item| {
                getters.iter().map(|getter| folded(vm, getter.get(vm, item)?, case)).collect()
            })?;
            Value::list(sorted)
        }
        "unique" => {
            let mut args = given.bind(what, ["case_sensitive", "attribute"], 0)?;
            let (case, getter) = (args.is_true(0, false), Getter::new(args.get(1), None)?);
            let (mut seen, mut kept) = (HashSet::new(), Vec::new());
            for item in value.items(vm.meter)? {
                if seen.insert(key(&folded(vm, getter.get(vm, &item)?, case)?)?) {
                    kept.push(item);
                }
            }
            Value::lazy(kept)
        }
        "dictsort" => dictsort(vm, what, value, given),
        "groupby" => groupby(vm, what, value, given),
        "batch" => batch(vm, what, value, given),
        _ => slice(vm, what, value, given),
    }
}

fn plain(vm: &Vm<'_>, name: &str, value: &Value) -> Outcome<Value> {
    let none = |which: &str| Value::undefined(format!("No {which} item, sequence was empty."));
    Ok(match name {
        "length" | "count" => match value {
            Value::Loop(state) => {
                return state.attribute(vm, value, "length").map(|l| l.unwrap_or(Value::None));
            }
            _ => match value.len() {
                Some(len) => Value::Int(len as i128),
                None => return fail(format!("object of type '{}' has no len()", value.kind())),
            },
        },
        "first" => match value {
            Value::Lazy(lazy) => lazy.next().unwrap_or_else(|| none("first")),
            Value::Text(_) | Value::List(_) | Value::Tuple(_) if value.is_true() => {
                access::item(vm, value, &Value::Int(0))?
            }
            other => other.items(vm.meter)?.into_iter().next().unwrap_or_else(|| none("first")),
        },
        "last" => match value {
            Value::Lazy(_) => return fail("'generator' object is not reversible"),
            Value::Text(_) | Value::List(_) | Value::Tuple(_) if value.is_true() => {
                access::item(vm, value, &Value::Int(-1))?
            }
            other => other.items(vm.meter)?.pop().unwrap_or_else(|| none("last")),
        },
        "list" => Value::list(value.items(vm.meter)?)?,
        "reverse" => match value {
            Value::Text(text) => {
                vm.meter.letters(text.len())?;
                Value::Text(text.letters().iter().rev().copied().collect())
            }
            Value::Markup(_) => return fail("reverse of 'Markup' is not supported"),
            other => {
                let mut items = other.items(vm.meter)?;
                items.reverse();
                match other {
                    // Python makes a list where there is no way back.
                    Value::Lazy(_) => Value::list(items)?,
                    _ => Value::lazy(items)?,
                }
            }
        },
        _ => match value {
            Value::Undefined(_) => Value::lazy(Vec::new())?,
            Value::Dict(dict) => {
                Value::lazy(Value::View(View::Items, Rc::clone(dict)).items(vm.meter)?)?
            }
            _ => return fail("Can only get item pairs from a mapping."),
        },
    })
}

fn join(vm: &Vm<'_>, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let mut args = given.bind(what, ["d", "attribute"], 0)?;
    let between = args.value(0).unwrap_or_else(|| Value::own(""));
    let between = print::text(&between, vm.meter)?;
    let getter = Getter::new(args.get(1), None)?;
    let mut letters = Vec::new();
    for (i, item) in value.items(vm.meter)?.iter().enumerate() {
        if i > 0 {
            vm.meter.letters(between.len())?;
            letters.extend_from_slice(between.letters());
        }
        print::write(&mut letters, &getter.get(vm, item)?, vm.meter)?;
    }
    vm.meter.letters(letters.len())?;
    Ok(Value::Text(Text::from(letters)))
}

fn extreme(vm: &Vm<'_>, what: &str, value: &Value, given: Given, max: bool) -> Outcome<Value> {
    let mut args = given.bind(what, ["case_sensitive", "attribute"], 0)?;
    let (case, getter) = (args.is_true(0, false), Getter::new(args.get(1), None)?);
    let mut best: Option<(Value, Value)> = None;
    for item in value.items(vm.meter)? {
        let key = folded(vm, getter.get(vm, &item)?, case)?;
        let better = match &best {
            None => true,
            Some((best, _)) => {
                let wanted = if max { Ordering::Greater } else { Ordering::Less };
                order(&key, best, vm.meter)? == Some(wanted)
            }
        };
        if better {
            best = Some((key, item));
        }
    }
    let none = || Value::undefined("No aggregated item, sequence was empty.");
    Ok(best.map_or_else(none, |(_, item)| item))
}

fn dictsort(vm: &Vm<'_>, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let mut args = given.bind(what, ["case_sensitive", "by", "reverse"], 0)?;
    let (case, reverse) = (args.is_true(0, false), args.is_true(2, false));
    let by = args.value(1).map(|by| print::text(&by, vm.meter)).transpose()?;
    let at = match by.map(|by| by.to_string()).as_deref() {
        None | Some("key") => 0,
        Some("value") => 1,
        _ => return fail("You can only sort by either \"key\" or \"value\""),
    };
    let Value::Dict(dict) = value else {
        return fail(format!("dictsort needs a mapping, not '{}'", value.kind()));
    };
    let pairs = Value::View(View::Items, Rc::clone(dict)).items(vm.meter)?;
    let sorted = sorted_by_key(vm, pairs, reverse, |pair| match pair {
        Value::Tuple(pair) => Ok(vec![folded(vm, pair.items[at].clone(), case)?]),
        _ => Ok(Vec::new()),
    })?;
    Value::list(sorted)
}

fn groupby(vm: &Vm<'_>, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let mut args = given.bind(what, ["attribute", "default", "case_sensitive"], 1)?;
    let getter = Getter::new(args.get(0), args.value(1))?;
    let case = args.is_true(2, false);
    let key = |item: &Value| folded(vm, getter.get(vm, item)?, case);
    let items = sorted_by_key(vm, value.items(vm.meter)?, false, |item| Ok(vec![key(item)?]))?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in items {
        let next = key(&item)?;
        match groups.last_mut() {
            Some((last, group)) if equal(last, &next, vm.meter)? => group.push(item),
            _ => groups.push((next, vec![item])),
        }
    }
    let group = |(_, items): (Value, Vec<Value>)| {
        let grouper = getter.get(vm, &items[0])?;
        List::group(grouper, Value::list(items)?).map(Value::Tuple)
    };
    Value::list(groups.into_iter().map(group).collect::<Outcome<_>>()?)
}

fn batch(vm: &Vm<'_>, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let mut args = given.bind(what, ["linecount", "fill_with"], 1)?;
    let (size, fill) = (args.int(0)?.unwrap_or(0), args.some(1));
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    for item in value.items(vm.meter)? {
        if row.len() as i128 == size {
            rows.push(Value::list(std::mem::take(&mut row))?);
        }
        row.push(item);
    }
    if !row.is_empty() {
        if let Some(fill) = fill {
            let missing = count(size).saturating_sub(row.len());
            vm.meter.items(missing)?;
            row.extend(std::iter::repeat_n(fill, missing));
        }
        rows.push(Value::list(row)?);
    }
    Value::lazy(rows)
}

fn slice(vm: &Vm<'_>, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let mut args = given.bind(what, ["slices", "fill_with"], 1)?;
    let (slices, fill) = (args.int(0)?.unwrap_or(0), args.some(1));
    if slices == 0 {
        return fail("integer division or modulo by zero");
    }
    let items = value.items(vm.meter)?;
    let slices = count(slices);
    vm.meter.items(slices)?;
    vm.meter.items(slices)?;
    let (size, extra) = match slices {
        0 => (0, 0),
        _ => (items.len() / slices, items.len() % slices),
    };
    let (mut rest, mut rows) = (items.into_iter(), Vec::with_capacity(slices));
    for at in 0..slices {
        let mut row: Vec<Value> = rest.by_ref().take(size + usize::from(at < extra)).collect();
        if at >= extra {
            row.extend(fill.clone());
        }
        rows.push(Value::list(row)?);
    }
    Value::lazy(rows)
}

/// Words between blanks, as `str.split()`.
pub(in crate::jinja) fn words(text: &Text) -> impl Iterator<Item = &[crate::jinja::text::Letter]> {
    text.letters().split(|l| is_space(l.char())).filter(|word| !word.is_empty())
}
