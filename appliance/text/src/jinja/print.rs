//! `str()` and `repr()`. What Python prints with an address in memory is an error.
//! Next: `number.rs`.

use super::letters::is_printable;
use super::meter::{Meter, Outcome, fail};
use super::number;
use super::text::{Letter, Text, push};
use super::value::{Value, View};

/// `str(value)`.
pub(crate) fn text(value: &Value, meter: &Meter) -> Outcome<Text> {
    if let Value::Text(text) | Value::Markup(text) = value {
        return Ok(text.clone());
    }
    let mut letters = Vec::new();
    write(&mut letters, value, meter)?;
    meter.letters(letters.len())?;
    Ok(letters.into())
}

/// Appends `str(value)`.
pub(crate) fn write(out: &mut Vec<Letter>, value: &Value, meter: &Meter) -> Outcome<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Text(text) | Value::Markup(text) => {
            meter.letters(text.len())?;
            out.extend_from_slice(text.letters());
            Ok(())
        }
        other => repr(out, other, meter),
    }
}

/// Appends `repr(value)`.
pub(crate) fn repr(out: &mut Vec<Letter>, value: &Value, meter: &Meter) -> Outcome<()> {
    meter.letters(4)?;
    match value {
        Value::Undefined(_) => push(out, "Undefined"),
        Value::None => push(out, "None"),
        Value::Bool(true) => push(out, "True"),
        Value::Bool(false) => push(out, "False"),
        Value::Int(int) => push(out, &int.to_string()),
        Value::Float(float) => push(out, &number::float(*float)),
        Value::Text(text) => quoted(out, text, meter)?,
        Value::List(list) => items(out, "[", &list.items, "]", meter)?,
        Value::Tuple(list) => {
            let end = if list.items.len() == 1 { ",)" } else { ")" };
            items(out, "(", &list.items, end, meter)?;
        }
        Value::Dict(dict) => {
            push(out, "{");
            for (i, (name, value)) in dict.entries().iter().enumerate() {
                push(out, if i > 0 { ", " } else { "" });
                repr(out, name, meter)?;
                push(out, ": ");
                repr(out, value, meter)?;
            }
            push(out, "}");
        }
        Value::View(view, dict) => {
            let name = match view {
                View::Keys => "dict_keys([",
                View::Values => "dict_values([",
                View::Items => "dict_items([",
            };
            let shown = Value::View(*view, dict.clone()).items(meter)?;
            items(out, name, &shown, "])", meter)?;
        }
        Value::Range(range) => {
            push(out, &format!("range({}, {}", range.start, range.stop));
            push(out, &if range.step == 1 { ")".into() } else { format!(", {})", range.step) });
        }
        other => return fail(format!("a '{}' cannot be written as text", other.kind())),
    }
    Ok(())
}

fn items(
    out: &mut Vec<Letter>,
    begin: &str,
    items: &[Value],
    end: &str,
    meter: &Meter,
) -> Outcome<()> {
    push(out, begin);
    for (i, item) in items.iter().enumerate() {
        push(out, if i > 0 { ", " } else { "" });
        repr(out, item, meter)?;
    }
    push(out, end);
    Ok(())
}

fn quoted(out: &mut Vec<Letter>, text: &Text, meter: &Meter) -> Outcome<()> {
    meter.letters(text.len())?;
    meter.classes(text.letters())?;
    let double = text.chars().any(|c| c == '\'') && !text.chars().any(|c| c == '"');
    let quote = if double { '"' } else { '\'' };
    out.push(Letter::own(quote));
    for letter in text.letters() {
        let char = letter.char();
        let escaped = match char {
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            c if c == quote => format!("\\{c}"),
            c if is_printable(c) => {
                out.push(*letter);
                continue;
            }
            c if c < '\u{100}' => format!("\\x{:02x}", u32::from(c)),
            c if c < '\u{10000}' => format!("\\u{:04x}", u32::from(c)),
            c => format!("\\U{:08x}", u32::from(c)),
        };
        out.extend(escaped.chars().map(|c| letter.with(c)));
    }
    out.push(Letter::own(quote));
    Ok(())
}
