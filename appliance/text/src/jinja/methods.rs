//! Methods of Python's strings, each with all of its arguments.
//!
//! Refused by name: `encode`, `maketrans`, `translate`. Next: `letters.rs`.

mod cut;
mod look;

use std::sync::Arc;

use super::arguments::{Given, count};
use super::eval::Vm;
use super::fields;
use super::letters;
use super::meter::{Meter, Outcome, fail};
use super::spec::pad;
use super::text::{Letter, Text, is_line_end, is_space};
use super::value::Value;
pub(crate) use cut::replaced;

/// `text.name(…)`.
pub(crate) fn text(vm: &Vm<'_>, text: &Text, name: &Arc<str>, given: Given) -> Outcome<Value> {
    let what = format!("str.{name}");
    vm.meter.read(text.len())?;
    match &**name {
        "format" => fields::format(vm, text, &given).map(Value::Text),
        "format_map" => {
            let Value::Dict(dict) = given.bind(&what, ["/mapping"], 1)?.get(0) else {
                return fail("str.format_map needs a mapping");
            };
            let mut named = Given::default();
            for (name, value) in dict.entries() {
                if let Value::Text(name) = name {
                    named.named.push((name.to_string().into(), value.clone()));
                }
            }
            fields::format(vm, text, &named).map(Value::Text)
        }
        "split" | "rsplit" | "splitlines" | "partition" | "rpartition" | "strip" | "lstrip"
        | "rstrip" | "removeprefix" | "removesuffix" | "replace" | "join" => {
            cut::apply(vm, text, name, &what, given)
        }
        "find" | "rfind" | "index" | "rindex" | "count" | "startswith" | "endswith" => {
            look::search(vm, text, name, &what, given)
        }
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs" => {
            padded(vm, text, name, &what, given).map(Value::Text)
        }
        "encode" | "maketrans" | "translate" => fail(format!("{what} is not supported")),
        other => {
            given.bind(&what, [], 0)?;
            vm.meter.letters(text.len())?;
            let all = text.letters();
            vm.meter.classes(all)?;
            Ok(Value::Text(match other {
                "upper" => letters::upper(all),
                "lower" => letters::lower(all),
                "title" => letters::title(all),
                "capitalize" => letters::capitalize(all),
                "swapcase" => letters::swapcase(all),
                "casefold" if text.chars().all(|c| c.is_ascii()) => letters::lower(all),
                "casefold" => return fail("str.casefold beyond ASCII is not supported"),
                _ => return look::is(text, other).map(Value::Bool),
            }))
        }
    }
}

fn padded(vm: &Vm<'_>, text: &Text, name: &str, what: &str, given: Given) -> Outcome<Text> {
    let letters = text.letters();
    if name == "expandtabs" {
        let size = given.bind(what, ["tabsize"], 0)?.int(0)?.unwrap_or(8);
        return expandtabs(letters, count(size), vm.meter);
    }
    let mut args = given.bind(what, ["/width", "/fillchar"], 1)?;
    let Some(width) = args.int(0)? else { return fail(format!("{what} misses its width")) };
    let (width, fill) = (count(width), args.value(1));
    if name == "zfill" {
        if fill.is_some() {
            return fail("str.zfill takes one argument");
        }
        let signed = letters.first().is_some_and(|l| matches!(l.char(), '+' | '-'));
        let head = usize::from(signed);
        return pad(letters.to_vec(), head, Letter::own('0'), '=', width, vm.meter).map(Text::from);
    }
    let fill = match fill {
        None => Letter::own(' '),
        Some(Value::Text(fill)) if fill.len() == 1 => fill.letters()[0],
        Some(_) => return fail("The fill character must be exactly one character long"),
    };
    match name {
        "center" => center(letters, width, fill, vm.meter),
        "ljust" => pad(letters.to_vec(), 0, fill, '<', width, vm.meter).map(Text::from),
        _ => pad(letters.to_vec(), 0, fill, '>', width, vm.meter).map(Text::from),
    }
}

/// `str.center`, which puts the odd blank to the left where the width is odd.
pub(crate) fn center(
    letters: &[Letter],
    width: usize,
    fill: Letter,
    meter: &Meter,
) -> Outcome<Text> {
    let missing = width.saturating_sub(letters.len());
    meter.letters(missing.saturating_add(letters.len()))?;
    let left = missing / 2 + (missing & width & 1);
    let mut made = vec![fill; left];
    made.extend_from_slice(letters);
    made.extend(std::iter::repeat_n(fill, missing - left));
    Ok(made.into())
}

fn expandtabs(letters: &[Letter], size: usize, meter: &Meter) -> Outcome<Text> {
    let (mut made, mut column) = (Vec::new(), 0_usize);
    for letter in letters {
        match letter.char() {
            '\t' => {
                let blanks = if size == 0 { 0 } else { size - column % size };
                meter.letters(blanks)?;
                made.extend(std::iter::repeat_n(letter.with(' '), blanks));
                column += blanks;
            }
            c => {
                made.push(*letter);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    Ok(made.into())
}

/// Without blanks, or without the given characters, at its ends.
pub(crate) fn stripped<'t>(
    letters: &'t [Letter],
    chars: Option<&Text>,
    left: bool,
    right: bool,
    meter: &Meter,
) -> Outcome<&'t [Letter]> {
    let strips = |letter: &Letter| match chars {
        None => is_space(letter.char()),
        Some(chars) => chars.letters().contains(letter),
    };
    let cost = chars.map_or(1, |chars| 1 + chars.len() / 8);
    let (mut start, mut end) = (0, letters.len());
    while left && start < end && strips(&letters[start]) {
        meter.work(cost)?;
        start += 1;
    }
    while right && start < end && strips(&letters[end - 1]) {
        meter.work(cost)?;
        end -= 1;
    }
    Ok(&letters[start..end])
}

/// Lines, with their ends where `keep`.
pub(crate) fn lines(letters: &[Letter], keep: bool) -> Vec<&[Letter]> {
    let (mut lines, mut rest) = (Vec::new(), letters);
    while !rest.is_empty() {
        let at = rest.iter().position(|l| is_line_end(l.char()));
        let (end, next) = match at {
            None => (rest.len(), rest.len()),
            Some(at) => {
                let pair =
                    rest[at].char() == '\r' && rest.get(at + 1).is_some_and(|l| l.char() == '\n');
                (at, at + 1 + usize::from(pair))
            }
        };
        lines.push(&rest[..if keep { next } else { end }]);
        rest = &rest[next..];
    }
    lines
}
