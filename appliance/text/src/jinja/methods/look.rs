//! Methods that look at text. Next: `letters.rs`.

use crate::jinja::arguments::Given;
use crate::jinja::compare::find;
use crate::jinja::eval::Vm;
use crate::jinja::letters::{
    is_alpha, is_cased, is_decimal, is_digit, is_identifier, is_numeric, is_printable, is_title,
};
use crate::jinja::meter::{Meter, Outcome, fail};
use crate::jinja::sequences::bounds;
use crate::jinja::text::{Letter, Text, is_space};
use crate::jinja::value::Value;

/// Where `part` last stands.
pub(super) fn rfind(letters: &[Letter], part: &[Letter], meter: &Meter) -> Outcome<Option<usize>> {
    let back = |letters: &[Letter]| -> Vec<Letter> { letters.iter().rev().copied().collect() };
    meter.letters(letters.len())?;
    let found = find(&back(letters), &back(part), meter)?;
    Ok(found.map(|at| letters.len() - at - part.len()))
}

pub(super) fn search(
    vm: &Vm<'_>,
    text: &Text,
    name: &str,
    what: &str,
    given: Given,
) -> Outcome<Value> {
    let meter = vm.meter;
    let mut args = given.bind(what, ["/sub", "/start", "/end"], 1)?;
    let wanted = args.get(0);
    let (start, stop) = (args.some_int(1)?, args.some_int(2)?);
    let (from, to) = bounds(start, stop, text.len());
    // A start behind the end finds nothing, not even the empty string.
    let part = if from <= to { Some(&text.letters()[from..to]) } else { None };
    if matches!(name, "startswith" | "endswith") {
        let options = match &wanted {
            Value::Tuple(options) => options.items.clone(),
            other => vec![other.clone()],
        };
        for option in options {
            let Value::Text(option) = option else {
                let kind = option.kind();
                return fail(format!("{what} first arg must be str or a tuple of str, not {kind}"));
            };
            meter.read(option.len())?;
            let option = option.letters();
            let found = part.is_some_and(|part| match name {
                "startswith" => part.starts_with(option),
                _ => part.ends_with(option),
            });
            if found {
                return Ok(Value::Bool(true));
            }
        }
        return Ok(Value::Bool(false));
    }
    let Value::Text(wanted) = wanted else {
        return fail(format!("{what} must be given a string, not '{}'", wanted.kind()));
    };
    let wanted = wanted.letters();
    if name == "count" {
        return part.map_or(Ok(0), |part| occurrences(part, wanted, meter)).map(Value::Int);
    }
    let found = match part {
        None => None,
        Some(part) if name.starts_with('r') => rfind(part, wanted, meter)?,
        Some(part) => find(part, wanted, meter)?,
    };
    match found {
        Some(at) => Ok(Value::Int((from + at) as i128)),
        None if name.ends_with("index") => fail(format!("{what}: substring not found")),
        None => Ok(Value::Int(-1)),
    }
}

fn occurrences(letters: &[Letter], wanted: &[Letter], meter: &Meter) -> Outcome<i128> {
    if wanted.is_empty() {
        return Ok(letters.len() as i128 + 1);
    }
    let (mut rest, mut count) = (letters, 0);
    while let Some(at) = find(rest, wanted, meter)? {
        count += 1;
        rest = &rest[at + wanted.len()..];
    }
    Ok(count)
}

/// `str.isalpha` and its like.
pub(super) fn is(text: &Text, name: &str) -> Outcome<bool> {
    let all = |class: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(class);
    Ok(match name {
        "isalpha" => all(&is_alpha),
        "isalnum" => all(&|c| is_alpha(c) || is_digit(c) || is_numeric(c)),
        "isascii" => text.chars().all(|c| c.is_ascii()),
        "isdecimal" => all(&is_decimal),
        "isdigit" => all(&is_digit),
        "isnumeric" => all(&|c| is_digit(c) || is_numeric(c)),
        "isspace" => all(&is_space),
        "isprintable" => text.chars().all(is_printable),
        "isidentifier" => is_identifier(text),
        "islower" => cased(text, |c| c.is_uppercase() || is_title(c), char::is_lowercase),
        "isupper" => cased(text, |c| c.is_lowercase() || is_title(c), char::is_uppercase),
        "istitle" => {
            let (mut in_word, mut any) = (false, false);
            for letter in text.chars() {
                let begins = letter.is_uppercase() || is_title(letter);
                if (begins && in_word) || (letter.is_lowercase() && !in_word) {
                    return Ok(false);
                }
                in_word = is_cased(letter);
                any |= in_word;
            }
            any
        }
        other => return fail(format!("str.{other} is not supported")),
    })
}

fn cased(text: &Text, wrong: fn(char) -> bool, right: fn(char) -> bool) -> bool {
    !text.chars().any(wrong) && text.chars().any(right)
}
