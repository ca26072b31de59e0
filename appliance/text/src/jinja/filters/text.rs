//! Filters of text. Next: `wrap.rs`.

use super::escaped;
use super::items::words;
use super::wrap;
use crate::jinja::arguments::{Given, count};
use crate::jinja::compare::find;
use crate::jinja::eval::Vm;
use crate::jinja::letters::{capitalize, is_word, lower, upper};
use crate::jinja::meter::{Outcome, fail};
use crate::jinja::methods::{center, lines, replaced, stripped};
use crate::jinja::print;
use crate::jinja::text::{Letter, Text, is_space, push};
use crate::jinja::value::{Value, View};

pub(super) fn apply(
    vm: &Vm<'_>,
    name: &str,
    what: &str,
    value: &Value,
    given: Given,
) -> Outcome<Value> {
    match name {
        "indent" | "truncate" | "wordwrap" => return layout(vm, name, what, value, given),
        "urlencode" => {
            given.bind(what, [], 0)?;
            return urlencode(vm, value).map(|text| Value::own(&text));
        }
        "xmlattr" => return xmlattr(vm, what, value, given),
        _ => {}
    }
    let text = print::text(value, vm.meter)?;
    vm.meter.letters(text.len())?;
    let letters = text.letters();
    vm.meter.classes(letters)?;
    Ok(Value::Text(match name {
        "center" => {
            let width = given.bind(what, ["width"], 0)?.int(0)?.unwrap_or(80);
            center(letters, count(width), Letter::own(' '), vm.meter)?
        }
        "replace" => {
            let mut args = given.bind(what, ["old", "new", "count"], 2)?;
            let old = print::text(&args.get(0), vm.meter)?;
            let new = print::text(&args.get(1), vm.meter)?;
            let most = args.some_int(2)?.unwrap_or(-1);
            replaced(&text, &old, &new, most, vm.meter)?
        }
        "trim" => {
            let chars = given.bind(what, ["chars"], 0)?.text(0)?;
            Text::from(stripped(letters, chars.as_ref(), true, true, vm.meter)?)
        }
        "wordcount" => {
            given.bind(what, [], 0)?;
            let words = letters.split(|l| !is_word(l.char())).filter(|word| !word.is_empty());
            return Ok(Value::Int(words.count() as i128));
        }
        _ => {
            given.bind(what, [], 0)?;
            match name {
                "upper" => upper(letters),
                "lower" => lower(letters),
                "capitalize" => capitalize(letters),
                "title" => title(letters),
                "string" => match value {
                    Value::Markup(_) => return Ok(value.clone()),
                    _ => text,
                },
                "striptags" => striptags(vm, &text)?,
                "safe" => return Ok(Value::Markup(text)),
                "escape" | "e" if matches!(value, Value::Markup(_)) => return Ok(value.clone()),
                _ => {
                    vm.meter.letters(6 * text.len())?;
                    return Ok(Value::Markup(escaped(&text)));
                }
            }
        }
    }))
}

fn layout(vm: &Vm<'_>, name: &str, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let text = match value {
        Value::Text(text) => text,
        Value::Undefined(why) => return fail(&**why),
        other => return fail(format!("{what} needs a string, not '{}'", other.kind())),
    };
    vm.meter.letters(text.len())?;
    match name {
        "indent" => indent(vm, what, text, given),
        "truncate" => truncate(vm, what, text, given),
        _ => {
            let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
            let mut args = given.bind(what, names, 0)?;
            let width = args.int(0)?.unwrap_or(79);
            let (long, hyphens) = (args.is_true(1, true), args.is_true(3, true));
            let between = args.text(2)?.unwrap_or_else(|| Text::own("\n"));
            if hyphens && text.chars().any(|c| c == '-') {
                return fail("wordwrap of text with hyphens needs break_on_hyphens=false");
            }
            if width <= 0 {
                return fail(format!("invalid width {width} (must be > 0)"));
            }
            let mut all = Vec::new();
            for (i, line) in lines(text.letters(), false).iter().enumerate() {
                all.extend_from_slice(if i > 0 { between.letters() } else { &[] });
                for (i, line) in wrap::wrap(line, count(width), long, vm.meter)?.iter().enumerate()
                {
                    vm.meter.letters(between.len() + line.len())?;
                    all.extend_from_slice(if i > 0 { between.letters() } else { &[] });
                    all.extend_from_slice(line);
                }
            }
            Ok(Value::Text(all.into()))
        }
    }
}

fn indent(vm: &Vm<'_>, what: &str, text: &Text, given: Given) -> Outcome<Value> {
    let mut args = given.bind(what, ["width", "first", "blank"], 0)?;
    let width = match args.value(0) {
        Some(Value::Text(width)) => width,
        width => {
            let width = match width {
                None => 4,
                Some(Value::Int(width)) => width,
                Some(Value::Bool(width)) => width.into(),
                Some(other) => {
                    let kind = other.kind();
                    return fail(format!(
                        "indent: width must be an integer or a string, not {kind}"
                    ));
                }
            };
            vm.meter.letters(count(width))?;
            std::iter::repeat_n(Letter::own(' '), count(width)).collect()
        }
    };
    let (first, blank) = (args.is_true(1, false), args.is_true(2, false));
    // Jinja adds a newline, which keeps the last one that the text has.
    let with_end: Vec<Letter> = text.letters().iter().copied().chain([Letter::own('\n')]).collect();
    let lines = lines(&with_end, false);
    vm.meter.letters(text.len().saturating_add(lines.len().saturating_mul(width.len() + 1)))?;
    let mut made = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            made.push(Letter::own('\n'));
        }
        let indents = if i == 0 { first } else { blank || !line.is_empty() };
        made.extend_from_slice(if indents { width.letters() } else { &[] });
        made.extend_from_slice(line);
    }
    Ok(Value::Text(made.into()))
}

fn truncate(vm: &Vm<'_>, what: &str, text: &Text, given: Given) -> Outcome<Value> {
    let mut args = given.bind(what, ["length", "killwords", "end", "leeway"], 0)?;
    let (length, kill) = (args.int(0)?.unwrap_or(255), args.is_true(1, false));
    let end = args.text(2)?.unwrap_or_else(|| Text::own("..."));
    let leeway = args.some_int(3)?.unwrap_or(5);
    if length < end.len() as i128 {
        return fail(format!("expected length >= {}, got {length}", end.len()));
    }
    if leeway < 0 {
        return fail(format!("expected leeway >= 0, got {leeway}"));
    }
    if text.len() as i128 <= length.saturating_add(leeway) {
        return Ok(Value::Text(text.clone()));
    }
    let mut kept = &text.letters()[..count(length) - end.len()];
    if !kill && let Some(blank) = kept.iter().rposition(|l| l.char() == ' ') {
        kept = &kept[..blank];
    }
    vm.meter.letters(kept.len() + end.len())?;
    Ok(Value::Text([kept, end.letters()].concat().into()))
}

/// Jinja's own: a word begins after a blank, `-`, `(`, `{`, `[` or `<`.
fn title(letters: &[Letter]) -> Text {
    let is_break = |l: Letter| is_space(l.char()) || "-({[<".contains(l.char());
    let mut made = Vec::with_capacity(letters.len());
    for run in letters.chunk_by(|a, b| is_break(*a) == is_break(*b)) {
        made.extend_from_slice(upper(&run[..1]).letters());
        made.extend_from_slice(lower(&run[1..]).letters());
    }
    made.into()
}

fn striptags(vm: &Vm<'_>, text: &Text) -> Outcome<Text> {
    let letters = text.letters();
    let (comment, comment_end) = (Text::own("<!--"), Text::own("-->"));
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some(start) = letters[at..].iter().position(|l| l.char() == '<') {
        let start = at + start;
        let end = if letters[start..].starts_with(comment.letters()) {
            let inner = &letters[start + comment.len()..];
            let end = find(inner, comment_end.letters(), vm.meter)?;
            end.map(|end| start + comment.len() + end + comment_end.len())
        } else {
            let end = letters[start..].iter().position(|l| l.char() == '>');
            end.map(|end| start + end + 1)
        };
        let Some(end) = end else { break };
        kept.extend_from_slice(&letters[at..start]);
        at = end;
    }
    kept.extend_from_slice(&letters[at..]);
    let mut made = Vec::new();
    for word in words(&Text::from(kept)) {
        let is_first = made.is_empty();
        push(&mut made, if is_first { "" } else { " " });
        made.extend_from_slice(word);
    }
    unescaped(&made).map(Text::from)
}

/// The few entities that people write; others would need HTML's whole table.
fn unescaped(letters: &[Letter]) -> Outcome<Vec<Letter>> {
    let mut made = Vec::with_capacity(letters.len());
    let mut rest = letters;
    while let Some((letter, after)) = rest.split_first() {
        rest = after;
        let next = after.first().map(|l| l.char());
        if letter.char() != '&' || !next.is_some_and(|c| c == '#' || c.is_ascii_alphanumeric()) {
            made.push(*letter);
            continue;
        }
        let end = after.iter().take(12).position(|l| l.char() == ';');
        let name: String = after[..end.unwrap_or(0)].iter().map(|l| l.char()).collect();
        let code = |digits: &str, radix| {
            let code = u32::from_str_radix(digits, radix).ok().filter(|code| *code >= 0xa0);
            code.and_then(char::from_u32)
        };
        let plain = match name.as_str() {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" | "#34" => Some('"'),
            "apos" | "#39" | "#x27" => Some('\''),
            "nbsp" => Some('\u{a0}'),
            _ => match name.strip_prefix("#x") {
                Some(digits) => code(digits, 16),
                None => name.strip_prefix('#').and_then(|digits| code(digits, 10)),
            },
        };
        let (Some(plain), Some(end)) = (plain, end) else {
            return fail("striptags of text with this HTML entity is not supported");
        };
        made.push(letter.with(plain));
        rest = &after[end + 1..];
    }
    Ok(made)
}

fn urlencode(vm: &Vm<'_>, value: &Value) -> Outcome<String> {
    let quote = |value: &Value, query: bool| -> Outcome<String> {
        let text = print::text(value, vm.meter)?;
        vm.meter.letters(3 * text.len())?;
        let mut made = String::new();
        for byte in text.to_string().bytes() {
            match byte {
                b' ' if query => made.push('+'),
                b'/' if !query => made.push('/'),
                b'-' | b'_' | b'.' | b'~' => made.push(byte.into()),
                _ if byte.is_ascii_alphanumeric() => made.push(byte.into()),
                _ => made.push_str(&format!("%{byte:02X}")),
            }
        }
        Ok(made)
    };
    let pairs = match value {
        Value::Dict(dict) => Value::View(View::Items, dict.clone()).items(vm.meter)?,
        Value::List(_) | Value::Tuple(_) | Value::Lazy(_) | Value::View(..) | Value::Range(_) => {
            value.items(vm.meter)?
        }
        // An undefined value has no items, but can be iterated.
        Value::Undefined(_) => Vec::new(),
        other => return quote(other, false),
    };
    let mut made = Vec::new();
    for pair in pairs {
        let pair = pair.items(vm.meter)?;
        let [name, value] = pair.as_slice() else {
            return fail("urlencode: each element must have two values");
        };
        made.push(format!("{}={}", quote(name, true)?, quote(value, true)?));
    }
    Ok(made.join("&"))
}

fn xmlattr(vm: &Vm<'_>, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let autospace = given.bind(what, ["autospace"], 0)?.is_true(0, true);
    let Value::Dict(dict) = value else {
        return fail(format!("xmlattr needs a mapping, not '{}'", value.kind()));
    };
    let mut made = Vec::new();
    for (name, value) in dict.entries() {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let Value::Text(name) = name else { return fail("xmlattr: a name must be a string") };
        if name.chars().any(|c| c.is_ascii_whitespace() || "\u{b}/>=".contains(c)) {
            return fail(format!("Invalid character in attribute name: {name}"));
        }
        let text = print::text(value, vm.meter)?;
        vm.meter.letters(6 * (name.len() + text.len()))?;
        let blank = autospace || !made.is_empty();
        push(&mut made, if blank { " " } else { "" });
        made.extend_from_slice(escaped(name).letters());
        push(&mut made, "=\"");
        let is_safe = matches!(value, Value::Markup(_));
        made.extend_from_slice(if is_safe { text } else { escaped(&text) }.letters());
        push(&mut made, "\"");
    }
    Ok(Value::Text(made.into()))
}
