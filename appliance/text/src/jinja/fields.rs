//! `'{} and {name:>8}'.format(…)`. Next: `spec.rs`.

use super::access;
use super::arguments::Given;
use super::eval::Vm;
use super::meter::{Outcome, fail};
use super::text::{Letter, Text};
use super::value::Value;
use super::{print, spec};

/// Fields are numbered by themselves or by the template, never both.
#[derive(Default)]
struct Numbers {
    next: usize,
    is_manual: bool,
}

/// `format.format(…)`.
pub(crate) fn format(vm: &Vm<'_>, format: &Text, given: &Given) -> Outcome<Text> {
    vm.meter.read(format.len())?;
    let mut made = Vec::new();
    write(vm, format.letters(), given, &mut Numbers::default(), 2, &mut made)?;
    vm.meter.letters(made.len())?;
    Ok(made.into())
}

fn write(
    vm: &Vm<'_>,
    format: &[Letter],
    given: &Given,
    numbers: &mut Numbers,
    levels: u8,
    made: &mut Vec<Letter>,
) -> Outcome<()> {
    let mut at = 0;
    let char = |at: usize| format.get(at).map(|l| l.char());
    while let Some(letter) = format.get(at) {
        match (letter.char(), char(at + 1)) {
            ('{', Some('{')) | ('}', Some('}')) => at += 1,
            ('}', _) => return fail("Single '}' encountered in format string"),
            ('{', _) => {
                let inner = &format[at + 1..];
                let mut open = 1_usize;
                let close = inner.iter().position(|l| {
                    match l.char() {
                        '{' => open += 1,
                        '}' => open -= 1,
                        _ => {}
                    }
                    open == 0
                });
                let Some(close) = close else { return fail("expected '}' before end of string") };
                field(vm, &inner[..close], given, numbers, levels, made)?;
                at += close + 2;
                continue;
            }
            _ => {}
        }
        made.push(*letter);
        at += 1;
    }
    Ok(())
}

fn field(
    vm: &Vm<'_>,
    field: &[Letter],
    given: &Given,
    numbers: &mut Numbers,
    levels: u8,
    made: &mut Vec<Letter>,
) -> Outcome<()> {
    if levels == 0 {
        return fail("Max string recursion exceeded");
    }
    // A `!` or `:` in brackets belongs to the name.
    let mut in_brackets = false;
    let end = field.iter().position(|l| {
        match l.char() {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            _ => {}
        }
        !in_brackets && matches!(l.char(), '!' | ':')
    });
    let end = end.unwrap_or(field.len());
    let mut value = named(vm, &field[..end], given, numbers)?;
    let mut rest = &field[end..];
    if rest.first().is_some_and(|l| l.char() == '!') {
        value = match rest.get(1).map(|l| l.char()) {
            Some('s') => Value::Text(print::text(&value, vm.meter)?),
            Some('r') => {
                let mut letters = Vec::new();
                print::repr(&mut letters, &value, vm.meter)?;
                Value::Text(letters.into())
            }
            _ => return fail("a conversion other than !s and !r is not supported"),
        };
        rest = &rest[2..];
    }
    let written = match rest.split_first() {
        Some((colon, spec)) if colon.char() == ':' => spec,
        Some(_) => return fail("expected ':' after conversion specifier"),
        None => &[],
    };
    let mut shape = Vec::new();
    write(vm, written, given, numbers, levels - 1, &mut shape)?;
    made.extend(spec::format(&value, &shape, vm.meter)?);
    Ok(())
}

fn named(vm: &Vm<'_>, name: &[Letter], given: &Given, numbers: &mut Numbers) -> Outcome<Value> {
    let name: String = name.iter().map(|l| l.char()).collect();
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut rest) = name.split_at(end);
    let index = match first.parse::<usize>() {
        Ok(index) => {
            if numbers.next > 0 {
                return fail("cannot switch from automatic field numbering to manual");
            }
            numbers.is_manual = true;
            Some(index)
        }
        Err(_) if first.is_empty() => {
            if numbers.is_manual {
                return fail("cannot switch from manual field specification to automatic");
            }
            numbers.next += 1;
            Some(numbers.next - 1)
        }
        Err(_) => None,
    };
    let found = match index {
        Some(index) => given.positional.get(index),
        None => given.named.iter().find(|(known, _)| &**known == first).map(|(_, value)| value),
    };
    let Some(mut value) = found.cloned() else {
        return fail(format!("the format has no value for {first:?}"));
    };
    while !rest.is_empty() {
        vm.meter.work(rest.len())?;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            value = access::attribute(vm, &value, &after[..end])?;
            rest = &after[end..];
            continue;
        }
        let inner = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        let Some((index, after)) = inner else {
            return fail("only '.' or '[' may follow ']' in format field specifier");
        };
        let index = match index.parse::<i128>() {
            Ok(int) if index.bytes().all(|b| b.is_ascii_digit()) => Value::Int(int),
            _ => Value::own(index),
        };
        value = access::item(vm, &value, &index)?;
        rest = after;
    }
    Ok(value)
}
