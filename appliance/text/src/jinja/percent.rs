//! `'%s and %05.2f' % values`. Next: `spec.rs`.

use super::arguments::count;
use super::compare::Number;
use super::meter::{Meter, Outcome, fail};
use super::print;
use super::spec::{pad, radix, real};
use super::text::{Letter, Text, push};
use super::value::Value;

/// Values that are taken one after the other.
struct Values<'v> {
    all: &'v Value,
    taken: usize,
}

impl Values<'_> {
    fn next(&mut self) -> Outcome<Value> {
        let found = match self.all {
            Value::Tuple(list) => list.items.get(self.taken).cloned(),
            other => (self.taken == 0).then(|| other.clone()),
        };
        self.taken += 1;
        found.map_or_else(|| fail("not enough arguments for format string"), Ok)
    }

    fn named(&self, name: &Text) -> Outcome<Value> {
        let Value::Dict(dict) = self.all else { return fail("format requires a mapping") };
        let value = dict.get(&Value::Text(name.clone()))?;
        value.cloned().map_or_else(|| fail(format!("the format has no value for {name}")), Ok)
    }

    fn end(&self) -> Outcome<()> {
        let left = match self.all {
            Value::Tuple(list) => self.taken < list.items.len(),
            Value::Dict(_) | Value::List(_) | Value::Range(_) => false,
            _ => self.taken == 0,
        };
        if left { fail("not all arguments converted during string formatting") } else { Ok(()) }
    }
}

/// `format % values`.
pub(crate) fn format(format: &Text, values: &Value, meter: &Meter) -> Outcome<Text> {
    meter.read(format.len())?;
    let mut values = Values { all: values, taken: 0 };
    let mut made: Vec<Letter> = Vec::new();
    let mut rest = format.letters();
    while let Some((letter, after)) = rest.split_first() {
        rest = after;
        if letter.char() != '%' {
            made.push(*letter);
            continue;
        }
        let mut field = Field::default();
        rest = field.parse(rest, &mut values)?;
        if field.kind == '%' {
            made.push(*letter);
            continue;
        }
        let value = match field.value.take() {
            Some(value) => value,
            None => values.next()?,
        };
        made.extend(field.write(&value, meter)?);
    }
    values.end()?;
    meter.letters(made.len())?;
    Ok(made.into())
}

#[derive(Default)]
struct Field {
    value: Option<Value>,
    left: bool,
    plus: bool,
    blank: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

impl Field {
    /// Reads what follows the `%`; returns what is left.
    fn parse<'t>(&mut self, text: &'t [Letter], values: &mut Values<'_>) -> Outcome<&'t [Letter]> {
        let mut at = 0;
        let char = |at: usize| text.get(at).map(|l| l.char());
        if char(0) == Some('(') {
            let mut open = 0_usize;
            let close = text.iter().position(|l| {
                match l.char() {
                    '(' => open += 1,
                    ')' => open -= 1,
                    _ => {}
                }
                open == 0
            });
            let Some(close) = close else { return fail("incomplete format key") };
            self.value = Some(values.named(&Text::from(&text[1..close]))?);
            at = close + 1;
        }
        while let Some(flag) = char(at).filter(|c| "-+ 0#".contains(*c)) {
            match flag {
                '-' => self.left = true,
                '+' => self.plus = true,
                ' ' => self.blank = true,
                '0' => self.zero = true,
                _ => self.alternate = true,
            }
            at += 1;
        }
        let number = |at: &mut usize, values: &mut Values<'_>| -> Outcome<i128> {
            if char(*at) == Some('*') {
                *at += 1;
                return match values.next()? {
                    Value::Int(int) => Ok(int),
                    _ => fail("* wants int"),
                };
            }
            let mut number = 0_i128;
            while let Some(digit) = char(*at).and_then(|c| c.to_digit(10)) {
                number = (number * 10 + i128::from(digit)).min(i128::from(u32::MAX));
                *at += 1;
            }
            Ok(number)
        };
        let width = number(&mut at, values)?;
        self.left |= width < 0;
        self.width = count(width.saturating_abs());
        if char(at) == Some('.') {
            at += 1;
            self.precision = Some(count(number(&mut at, values)?));
        }
        while char(at).is_some_and(|c| "hlL".contains(c)) {
            at += 1;
        }
        let Some(kind) = char(at) else { return fail("incomplete format") };
        self.kind = kind;
        Ok(&text[at + 1..])
    }

    fn write(&self, value: &Value, meter: &Meter) -> Outcome<Vec<Letter>> {
        let mut letters = Vec::new();
        let (mut head, mut zeros) = (0, false);
        match self.kind {
            's' => print::write(&mut letters, value, meter)?,
            'r' => print::repr(&mut letters, value, meter)?,
            'c' => match value {
                Value::Text(text) if text.len() == 1 => letters.extend(text.letters()),
                Value::Int(int) => {
                    let letter = u32::try_from(*int).ok().and_then(char::from_u32);
                    let Some(letter) = letter else { return fail("%c arg not in range") };
                    letters.push(Letter::own(letter));
                }
                _ => return fail("%c requires an integer or a single character"),
            },
            'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                head = self.number(&mut letters, value, meter)?;
                zeros = self.zero && !self.left;
            }
            other => return fail(format!("unsupported format character {other:?}")),
        }
        if matches!(self.kind, 's' | 'r') {
            letters.truncate(self.precision.unwrap_or(usize::MAX));
        }
        let fill = Letter::own(if zeros { '0' } else { ' ' });
        let align = if self.left {
            '<'
        } else if zeros {
            '='
        } else {
            '>'
        };
        pad(letters, head, fill, align, self.width, meter)
    }

    /// Writes a number; returns the length of its sign and prefix.
    fn number(&self, out: &mut Vec<Letter>, value: &Value, meter: &Meter) -> Outcome<usize> {
        let kind = self.kind;
        let Some(number) = Number::of(value) else {
            let found = value.kind();
            return fail(format!("%{kind} format: a real number is required, not {found}"));
        };
        let (negative, prefix, digits) = if "eEfFgG".contains(kind) {
            if self.alternate {
                return fail("'#' for floats is not supported");
            }
            let float = number.float();
            let negative = float.is_sign_negative() && !float.is_nan();
            (negative, "", real(float, Some(kind), self.precision)?)
        } else {
            let int = match number {
                Number::Int(int) => Some(int),
                Number::Float(float) if "diu".contains(kind) => {
                    super::compare::whole(float.trunc())
                }
                Number::Float(_) => None,
            };
            let Some(int) = int else {
                return fail(format!("%{kind} format: an integer is required, not float"));
            };
            let (prefix, digits) = radix(int.unsigned_abs(), kind);
            let zeros = self.precision.unwrap_or(0).saturating_sub(digits.len());
            meter.letters(zeros)?;
            let prefix = if self.alternate { prefix } else { "" };
            (int < 0, prefix, "0".repeat(zeros) + &digits)
        };
        let sign = match (negative, self.plus, self.blank) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        push(out, sign);
        push(out, prefix);
        let head = out.len();
        push(out, &digits);
        Ok(head)
    }
}
