//! Jinja's filters (`x | …`), each with all of its arguments.
//!
//! Refused by name: `random` and `urlize`. Next: `filters/items.rs`, `filters/text.rs`.

mod choose;
mod items;
mod number;
mod text;
mod wrap;

use super::access;
use super::arguments::Given;
use super::dumps;
use super::eval::Vm;
use super::meter::{Outcome, fail};
use super::percent;
use super::print;
use super::text::{Text, push};
use super::value::{Value, View};

const NAMES: [&str; 54] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
];

/// Whether Jinja has such a filter.
pub(crate) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// `value | name(…)`.
pub(crate) fn apply(vm: &Vm<'_>, name: &str, value: Value, given: Given) -> Outcome<Value> {
    vm.meter.enter()?;
    let made = inner(vm, name, value, given);
    vm.meter.leave();
    made
}

fn inner(vm: &Vm<'_>, name: &str, value: Value, given: Given) -> Outcome<Value> {
    let what = format!("the filter {name:?}");
    match name {
        "map" | "select" | "reject" | "selectattr" | "rejectattr" => {
            choose::apply(vm, name, &value, given)
        }
        "first" | "last" | "length" | "count" | "list" | "join" | "sum" | "min" | "max"
        | "sort" | "unique" | "dictsort" | "groupby" | "batch" | "slice" | "reverse" | "items" => {
            items::apply(vm, name, &what, &value, given)
        }
        "abs" | "int" | "float" | "round" | "filesizeformat" => {
            number::apply(vm, name, &what, &value, given)
        }
        "default" | "d" => {
            let mut args = given.bind(&what, ["default_value", "boolean"], 0)?;
            let missing = value.is_undefined() || (args.is_true(1, false) && !value.is_true());
            let default = args.value(0).unwrap_or_else(|| Value::own(""));
            Ok(if missing { default } else { value })
        }
        "attr" => {
            let name = given.bind(&what, ["name"], 1)?.need_text(0)?.to_string();
            access::own_only(vm, &value, &name)
        }
        "tojson" => {
            let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
            let mut args = given.bind(&what, names, 0)?;
            let style = dumps::Style {
                ascii: args.is_true(0, false),
                indent: dumps::indent(args.some(1))?,
                separators: dumps::separators(args.some(2), vm.meter)?,
                sort: args.is_true(3, false),
            };
            dumps::dumps(&value, &style, vm.meter).map(Value::Text)
        }
        "format" => {
            let text = print::text(&value, vm.meter)?;
            if !given.positional.is_empty() && !given.named.is_empty() {
                return fail("can't handle positional and keyword arguments at the same time");
            }
            let values = match given.named.is_empty() {
                true => Value::tuple(given.positional)?,
                false => {
                    let mut dict = super::value::Dict::default();
                    for (name, value) in given.named {
                        dict.insert(Value::own(&name), value)?;
                    }
                    Value::Dict(std::rc::Rc::new(dict))
                }
            };
            percent::format(&text, &values, vm.meter).map(Value::Text)
        }
        "pprint" => {
            given.bind(&what, [], 0)?;
            pprint(vm, &value)
        }
        "random" | "urlize" => fail(format!("{what} is not supported")),
        _ if is_known(name) => text::apply(vm, name, &what, &value, given),
        _ => fail(format!("there is no filter {name:?}")),
    }
}

/// `pprint.pformat`, where everything fits into one line.
fn pprint(vm: &Vm<'_>, value: &Value) -> Outcome<Value> {
    const LINE: usize = 80;
    let sorted = sorted(vm, value)?;
    let mut letters = Vec::new();
    print::repr(&mut letters, &sorted, vm.meter)?;
    let is_plain = !matches!(value, Value::List(_) | Value::Tuple(_) | Value::Dict(_));
    if letters.len() > LINE && (!is_plain || matches!(value, Value::Text(_))) {
        return fail("pprint of what takes more than one line is not supported");
    }
    Ok(Value::Text(letters.into()))
}

/// With all dicts in order of their keys.
fn sorted(vm: &Vm<'_>, value: &Value) -> Outcome<Value> {
    vm.meter.enter()?;
    let made = match value {
        Value::List(list) | Value::Tuple(list) => {
            let items = list.items.iter().map(|item| sorted(vm, item));
            let items = items.collect::<Outcome<Vec<_>>>()?;
            match value {
                Value::List(_) => Value::list(items)?,
                _ => Value::tuple(items)?,
            }
        }
        Value::Dict(dict) => {
            let pairs = Value::View(View::Items, dict.clone()).items(vm.meter)?;
            let pairs = items::sorted_by_key(vm, pairs, false, |pair| match pair {
                Value::Tuple(pair) => Ok(vec![pair.items[0].clone()]),
                _ => Ok(Vec::new()),
            })?;
            let mut dict = super::value::Dict::default();
            for pair in pairs {
                if let Value::Tuple(pair) = pair {
                    dict.insert(pair.items[0].clone(), sorted(vm, &pair.items[1])?)?;
                }
            }
            Value::Dict(std::rc::Rc::new(dict))
        }
        other => other.clone(),
    };
    vm.meter.leave();
    Ok(made)
}

/// What HTML gives a meaning, written so that it has none.
fn escaped(text: &Text) -> Text {
    let mut letters = Vec::with_capacity(text.len());
    for letter in text.letters() {
        let name = match letter.char() {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\'' => "&#39;",
            '"' => "&#34;",
            _ => {
                letters.push(*letter);
                continue;
            }
        };
        push(&mut letters, name);
    }
    letters.into()
}
