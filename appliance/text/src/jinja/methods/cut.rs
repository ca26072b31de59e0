//! Methods that cut text and put it together. Next: `look.rs`.

use super::{lines, stripped};
use crate::jinja::arguments::Given;
use crate::jinja::compare::find;
use crate::jinja::eval::Vm;
use crate::jinja::meter::{Meter, Outcome, fail};
use crate::jinja::text::{Letter, Text, is_space};
use crate::jinja::value::Value;

pub(super) fn apply(
    vm: &Vm<'_>,
    text: &Text,
    name: &str,
    what: &str,
    given: Given,
) -> Outcome<Value> {
    let meter = vm.meter;
    let letters = text.letters();
    match name {
        "split" | "rsplit" => split(letters, name == "rsplit", what, given, meter),
        "splitlines" => {
            let keep = given.bind(what, ["keepends"], 0)?.is_true(0, false);
            texts(&lines(letters, keep), meter)
        }
        "partition" | "rpartition" => {
            let separator = given.bind(what, ["/sep"], 1)?.need_text(0)?;
            partition(text, &separator, name == "rpartition", meter)
        }
        "strip" | "lstrip" | "rstrip" => {
            let chars = given.bind(what, ["/chars"], 0)?.text(0)?;
            let (left, right) = (name != "rstrip", name != "lstrip");
            let kept = stripped(letters, chars.as_ref(), left, right, meter)?;
            meter.letters(kept.len())?;
            Ok(Value::Text(Text::from(kept)))
        }
        "removeprefix" | "removesuffix" => {
            let part = given.bind(what, ["/part"], 1)?.need_text(0)?;
            let kept = match name {
                "removeprefix" => letters.strip_prefix(part.letters()),
                _ => letters.strip_suffix(part.letters()),
            };
            meter.letters(letters.len())?;
            Ok(Value::Text(Text::from(kept.unwrap_or(letters))))
        }
        "replace" => {
            let mut args = given.bind(what, ["/old", "/new", "count"], 2)?;
            let (old, new) = (args.need_text(0)?, args.need_text(1)?);
            let most = args.int(2)?.unwrap_or(-1);
            replaced(text, &old, &new, most, meter).map(Value::Text)
        }
        _ => {
            let items = given.bind(what, ["/iterable"], 1)?.get(0).items(meter)?;
            let mut joined = Vec::new();
            for (i, item) in items.iter().enumerate() {
                let Value::Text(item) = item else {
                    let kind = item.kind();
                    return fail(format!("sequence item {i}: expected str instance, {kind} found"));
                };
                meter.letters(item.len() + letters.len())?;
                joined.extend_from_slice(if i > 0 { letters } else { &[] });
                joined.extend_from_slice(item.letters());
            }
            Ok(Value::Text(joined.into()))
        }
    }
}

fn split(
    letters: &[Letter],
    from_right: bool,
    what: &str,
    given: Given,
    meter: &Meter,
) -> Outcome<Value> {
    let mut args = given.bind(what, ["sep", "maxsplit"], 0)?;
    let separator = args.text(0)?;
    let most = args.int(1)?.unwrap_or(-1);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let parts = match separator {
        None => blanks(letters, most, from_right),
        Some(separator) if separator.is_empty() => return fail("empty separator"),
        Some(separator) if from_right => {
            // Backwards it is a split from the left.
            let back =
                |letters: &[Letter]| -> Vec<Letter> { letters.iter().rev().copied().collect() };
            let reversed = back(letters);
            let cuts = splits(&reversed, &back(separator.letters()), most, meter)?;
            let parts = cuts.into_iter().rev().map(|part| {
                let (from, to) = (letters.len() - part.1, letters.len() - part.0);
                &letters[from..to]
            });
            parts.collect()
        }
        Some(separator) => {
            let cuts = splits(letters, separator.letters(), most, meter)?;
            cuts.into_iter().map(|(from, to)| &letters[from..to]).collect()
        }
    };
    texts(&parts, meter)
}

fn texts(parts: &[&[Letter]], meter: &Meter) -> Outcome<Value> {
    meter.items(2 * parts.len())?;
    meter.letters(parts.iter().map(|part| part.len()).sum())?;
    Value::list(parts.iter().map(|part| Value::Text(Text::from(*part))).collect())
}

/// Words between blanks, at most `most` cuts; the rest keeps its blanks inside.
fn blanks(letters: &[Letter], most: usize, from_right: bool) -> Vec<&[Letter]> {
    let is_blank = |l: &Letter| is_space(l.char());
    let mut parts = Vec::new();
    let mut rest = letters;
    loop {
        rest = match from_right {
            true => &rest[..rest.iter().rposition(|l| !is_blank(l)).map_or(0, |at| at + 1)],
            false => &rest[rest.iter().position(|l| !is_blank(l)).unwrap_or(rest.len())..],
        };
        if rest.is_empty() {
            break;
        }
        if parts.len() == most {
            parts.push(rest);
            break;
        }
        let (word, after) = match from_right {
            true => {
                let at = rest.iter().rposition(is_blank).map_or(0, |at| at + 1);
                (&rest[at..], &rest[..at])
            }
            false => rest.split_at(rest.iter().position(is_blank).unwrap_or(rest.len())),
        };
        parts.push(word);
        rest = after;
    }
    if from_right {
        parts.reverse();
    }
    parts
}

/// Where the parts between separators stand, at most `most` cuts.
fn splits(
    letters: &[Letter],
    separator: &[Letter],
    most: usize,
    meter: &Meter,
) -> Outcome<Vec<(usize, usize)>> {
    let (mut parts, mut from) = (Vec::new(), 0);
    while parts.len() < most {
        let Some(at) = next(letters, from, separator, meter)? else { break };
        parts.push((from, at));
        from = at + separator.len();
    }
    parts.push((from, letters.len()));
    Ok(parts)
}

/// Where `part` stands next. Each search pays for what it passes only.
fn next(letters: &[Letter], from: usize, part: &[Letter], meter: &Meter) -> Outcome<Option<usize>> {
    const STRETCH: usize = 4096;
    let mut from = from;
    loop {
        let end = letters.len().min(from.saturating_add(STRETCH + part.len()));
        if let Some(at) = find(&letters[from..end], part, meter)? {
            return Ok(Some(from + at));
        }
        if end == letters.len() {
            return Ok(None);
        }
        from += STRETCH;
    }
}

fn partition(text: &Text, separator: &Text, last: bool, meter: &Meter) -> Outcome<Value> {
    if separator.is_empty() {
        return fail("empty separator");
    }
    let letters = text.letters();
    meter.letters(letters.len())?;
    let found = match last {
        false => find(letters, separator.letters(), meter)?,
        true => super::look::rfind(letters, separator.letters(), meter)?,
    };
    let (none, whole) = (Value::own(""), Value::Text(text.clone()));
    Value::tuple(match found {
        Some(at) => {
            let end = at + separator.len();
            let part = |part: &[Letter]| Value::Text(Text::from(part));
            vec![part(&letters[..at]), part(&letters[at..end]), part(&letters[end..])]
        }
        None if last => vec![none.clone(), none, whole],
        None => vec![whole, none.clone(), none],
    })
}

/// `str.replace`; a negative count replaces all.
pub(crate) fn replaced(
    text: &Text,
    old: &Text,
    new: &Text,
    most: i128,
    meter: &Meter,
) -> Outcome<Text> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let letters = text.letters();
    let mut made = Vec::new();
    if old.is_empty() {
        let places = most.min(letters.len() + 1);
        meter.letters(letters.len().saturating_add(places.saturating_mul(new.len())))?;
        for at in 0..=letters.len() {
            made.extend_from_slice(if at < places { new.letters() } else { &[] });
            made.extend(letters.get(at));
        }
        return Ok(made.into());
    }
    let cuts = splits(letters, old.letters(), most, meter)?;
    meter.letters(letters.len().saturating_add(cuts.len().saturating_mul(new.len())))?;
    for (i, (from, to)) in cuts.into_iter().enumerate() {
        made.extend_from_slice(if i > 0 { new.letters() } else { &[] });
        made.extend_from_slice(&letters[from..to]);
    }
    Ok(made.into())
}
