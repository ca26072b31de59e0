//! `json.dumps`, as `transformers` gives it to templates: nothing is escaped for HTML.
//!
//! Next: `loads.rs`.

use super::compare::sort;
use super::meter::{Meter, Outcome, fail};
use super::number;
use super::text::{Letter, Text, push};
use super::value::Value;

/// How JSON is written.
#[derive(Debug)]
pub(crate) struct Style {
    pub(crate) ascii: bool,
    pub(crate) indent: Option<Text>,
    pub(crate) separators: Option<(Text, Text)>,
    pub(crate) sort: bool,
}

/// The argument `indent`: blanks, or what stands for a level.
pub(crate) fn indent(value: Option<Value>) -> Outcome<Option<Text>> {
    /// No JSON is easier to read with more.
    const WIDTH_MAX: i128 = 1000;
    let width = match value {
        None => return Ok(None),
        Some(Value::Text(text)) => return Ok(Some(text)),
        Some(Value::Int(width)) => width,
        Some(Value::Bool(width)) => width.into(),
        Some(other) => {
            return fail(format!(
                "tojson: indent must be an integer or a string, not {}",
                other.kind()
            ));
        }
    };
    if width > WIDTH_MAX {
        return fail(format!("tojson: an indent beyond {WIDTH_MAX} is not supported"));
    }
    Ok(Some(Text::own(&" ".repeat(usize::try_from(width).unwrap_or(0)))))
}

/// The argument `separators`: what stands between items, and after a key.
pub(crate) fn separators(value: Option<Value>, meter: &Meter) -> Outcome<Option<(Text, Text)>> {
    let Some(value) = value else { return Ok(None) };
    match value.items(meter)?.as_slice() {
        [Value::Text(item), Value::Text(key)] => Ok(Some((item.clone(), key.clone()))),
        _ => fail("tojson: separators must be two strings"),
    }
}

/// `json.dumps(value, …)`.
pub(crate) fn dumps(value: &Value, style: &Style, meter: &Meter) -> Outcome<Text> {
    let (item, key) = match &style.separators {
        Some((item, key)) => (item.clone(), key.clone()),
        None if style.indent.is_some() => (Text::own(","), Text::own(": ")),
        None => (Text::own(", "), Text::own(": ")),
    };
    let mut writer = Writer { style, item, key, meter, out: Vec::new() };
    writer.value(value, 0)?;
    meter.letters(writer.out.len())?;
    Ok(writer.out.into())
}

struct Writer<'w> {
    style: &'w Style,
    item: Text,
    key: Text,
    meter: &'w Meter,
    out: Vec<Letter>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, level: usize) -> Outcome<()> {
        self.meter.letters(8)?;
        match value {
            Value::None => push(&mut self.out, "null"),
            Value::Bool(bool) => push(&mut self.out, if *bool { "true" } else { "false" }),
            Value::Int(int) => push(&mut self.out, &int.to_string()),
            Value::Float(number) => push(&mut self.out, &float(*number)),
            Value::Text(text) | Value::Markup(text) => self.text(text)?,
            Value::List(list) | Value::Tuple(list) => {
                self.all('[', &list.items, level, ']', |writer, item, level| {
                    writer.value(item, level)
                })?;
            }
            Value::Dict(dict) => {
                let mut entries = dict.entries().to_vec();
                self.meter.items(2 * entries.len())?;
                if self.style.sort {
                    let meter = self.meter;
                    entries = sort(entries, &mut |a, b| {
                        let order = super::compare::order(&a.0, &b.0, meter)?;
                        Ok(order == Some(std::cmp::Ordering::Less))
                    })?;
                }
                self.all('{', &entries, level, '}', |writer, (name, value), level| {
                    writer.name(name)?;
                    let key = writer.key.clone();
                    writer.push(&key)?;
                    writer.value(value, level)
                })?;
            }
            other => {
                let kind = other.kind();
                return fail(format!("Object of type {kind} is not JSON serializable"));
            }
        }
        Ok(())
    }

    fn push(&mut self, text: &Text) -> Outcome<()> {
        self.meter.letters(text.len())?;
        self.out.extend_from_slice(text.letters());
        Ok(())
    }

    fn line(&mut self, level: usize) -> Outcome<()> {
        let Some(indent) = &self.style.indent else { return Ok(()) };
        self.meter.letters(1 + indent.len().saturating_mul(level))?;
        push(&mut self.out, "\n");
        for _ in 0..level {
            self.out.extend_from_slice(indent.letters());
        }
        Ok(())
    }

    fn all<T>(
        &mut self,
        begin: char,
        items: &[T],
        level: usize,
        end: char,
        mut write: impl FnMut(&mut Self, &T, usize) -> Outcome<()>,
    ) -> Outcome<()> {
        self.out.push(Letter::own(begin));
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                let between = self.item.clone();
                self.push(&between)?;
            }
            self.line(level + 1)?;
            write(self, item, level + 1)?;
        }
        if !items.is_empty() {
            self.line(level)?;
        }
        self.out.push(Letter::own(end));
        Ok(())
    }

    fn name(&mut self, name: &Value) -> Outcome<()> {
        let plain = match name {
            Value::Text(text) | Value::Markup(text) => return self.text(text),
            Value::None => "null".to_owned(),
            Value::Bool(bool) => bool.to_string(),
            Value::Int(int) => int.to_string(),
            Value::Float(number) => float(*number),
            other => {
                let kind = other.kind();
                return fail(format!("keys must be str, int, float, bool or None, not {kind}"));
            }
        };
        push(&mut self.out, &format!("\"{plain}\""));
        Ok(())
    }

    fn text(&mut self, text: &Text) -> Outcome<()> {
        self.meter.letters(text.len())?;
        push(&mut self.out, "\"");
        for letter in text.letters() {
            let escaped = match letter.char() {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '\t' => "\\t".to_owned(),
                '\u{8}' => "\\b".to_owned(),
                '\u{c}' => "\\f".to_owned(),
                c if c < ' ' || (self.style.ascii && c > '~') => {
                    let mut units = [0; 2];
                    let units = c.encode_utf16(&mut units).iter();
                    units.map(|unit| format!("\\u{unit:04x}")).collect()
                }
                _ => {
                    self.out.push(*letter);
                    continue;
                }
            };
            self.out.extend(escaped.chars().map(|c| letter.with(c)));
        }
        push(&mut self.out, "\"");
        Ok(())
    }
}

fn float(float: f64) -> String {
    match float {
        _ if float.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ => number::float(float),
    }
}
