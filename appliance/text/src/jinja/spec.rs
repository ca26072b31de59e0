//! Python's format specifications (`{:>8.2f}`), for `str.format`, and the digits that `%` shares.
//!
//! `n` (locales), `z` and precision without a type are refused. Next: `percent.rs`, `fields.rs`.

use super::arguments::count;
use super::compare::Number;
use super::meter::{Meter, Outcome, fail};
use super::print;
use super::text::{Letter, push};
use super::value::Value;

/// Digits behind the point; also `f64` has no more.
const PRECISION_MAX: usize = 1000;

/// A specification.
#[derive(Debug, Default)]
struct Spec {
    fill: Option<Letter>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// `format(value, spec)`.
pub(crate) fn format(value: &Value, spec: &[Letter], meter: &Meter) -> Outcome<Vec<Letter>> {
    if spec.is_empty() {
        let mut letters = Vec::new();
        print::write(&mut letters, value, meter)?;
        return Ok(letters);
    }
    let spec = parse(spec)?;
    match (value, Number::of(value)) {
        (Value::Text(text), _) => {
            if spec.sign.is_some() || spec.alternate || spec.grouping.is_some() {
                return fail("a sign, '#' or grouping is not allowed for a string");
            }
            if !matches!(spec.kind, None | Some('s')) || spec.align == Some('=') {
                return fail("unknown format code for a string");
            }
            let shown = text.len().min(spec.precision.unwrap_or(usize::MAX));
            let fill = spec.fill.unwrap_or(Letter::own(if spec.zero { '0' } else { ' ' }));
            let align = spec.align.unwrap_or('<');
            pad(text.letters()[..shown].to_vec(), 0, fill, align, spec.width, meter)
        }
        (_, Some(number)) => numeric(number, &spec, meter),
        (other, _) => fail(format!("unsupported format string for '{}'", other.kind())),
    }
}

fn parse(letters: &[Letter]) -> Outcome<Spec> {
    let mut spec = Spec::default();
    let mut rest = letters;
    let is_align = |l: Option<&Letter>| l.map(|l| l.char()).filter(|c| "<>=^".contains(*c));
    if let Some(align) = is_align(rest.get(1)) {
        (spec.fill, spec.align) = (rest.first().copied(), Some(align));
        rest = &rest[2..];
    } else if let Some(align) = is_align(rest.first()) {
        spec.align = Some(align);
        rest = &rest[1..];
    }
    let mut next = |set: &str| -> Option<char> {
        let found = rest.first().map(|l| l.char()).filter(|c| set.contains(*c))?;
        rest = &rest[1..];
        Some(found)
    };
    spec.sign = next("+- ");
    spec.alternate = next("#").is_some();
    spec.zero = next("0").is_some();
    let digits = |next: &mut dyn FnMut(&str) -> Option<char>| {
        let mut number: Option<usize> = None;
        while let Some(digit) = next("0123456789").and_then(|c| c.to_digit(10)) {
            let more = number.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize);
            number = Some(more);
        }
        number
    };
    spec.width = digits(&mut next).unwrap_or(0);
    spec.grouping = next(",_");
    if next(".").is_some() {
        let Some(precision) = digits(&mut next) else {
            return fail("format specifier missing precision");
        };
        spec.precision = Some(precision);
    }
    spec.kind = next("bcdeEfFgGnosxX%");
    if !rest.is_empty() {
        return fail("invalid format specifier");
    }
    Ok(spec)
}

fn numeric(number: Number, spec: &Spec, meter: &Meter) -> Outcome<Vec<Letter>> {
    let (negative, prefix, mut digits) = match (number, spec.kind) {
        (Number::Int(int), None | Some('d' | 'b' | 'o' | 'x' | 'X' | 'c')) => {
            if spec.precision.is_some() {
                return fail("precision not allowed in integer format specifier");
            }
            if spec.kind == Some('c') {
                return fail("the format code 'c' is not supported");
            }
            let (prefix, digits) = radix(int.unsigned_abs(), spec.kind.unwrap_or('d'));
            (int < 0, if spec.alternate { prefix } else { "" }, digits)
        }
        (_, Some('n')) => return fail("the format code 'n' is not supported"),
        (_, kind) => {
            if spec.alternate {
                return fail("'#' for floats is not supported");
            }
            let float = number.float();
            (float.is_sign_negative() && !float.is_nan(), "", real(float, kind, spec.precision)?)
        }
    };
    if let Some(separator) = spec.grouping {
        if spec.zero || (spec.align == Some('=') && spec.fill == Some(Letter::own('0'))) {
            return fail("grouping together with zeros is not supported");
        }
        digits = grouped(&digits, separator, spec.kind);
    }
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        _ => "",
    };
    let mut letters = Vec::new();
    push(&mut letters, sign);
    push(&mut letters, prefix);
    let head = letters.len();
    push(&mut letters, &digits);
    let fill = spec.fill.unwrap_or(Letter::own(if spec.zero { '0' } else { ' ' }));
    let align = spec.align.unwrap_or(if spec.zero { '=' } else { '>' });
    pad(letters, head, fill, align, spec.width, meter)
}

/// Pads to a width; `=` pads after the first `head` letters.
pub(crate) fn pad(
    letters: Vec<Letter>,
    head: usize,
    fill: Letter,
    align: char,
    width: usize,
    meter: &Meter,
) -> Outcome<Vec<Letter>> {
    let missing = count(width as i128).saturating_sub(letters.len());
    meter.letters(missing.saturating_add(letters.len()))?;
    let at = match align {
        '<' => return Ok([letters, vec![fill; missing]].concat()),
        '^' => missing / 2,
        '=' => {
            let tail = &letters[head..];
            return Ok([&letters[..head], &vec![fill; missing], tail].concat());
        }
        _ => missing,
    };
    Ok([vec![fill; at], letters, vec![fill; missing - at]].concat())
}

/// Prefix and digits of an integer.
pub(crate) fn radix(int: u128, kind: char) -> (&'static str, String) {
    match kind {
        'b' => ("0b", format!("{int:b}")),
        'o' => ("0o", format!("{int:o}")),
        'x' => ("0x", format!("{int:x}")),
        'X' => ("0X", format!("{int:X}")),
        _ => ("", int.to_string()),
    }
}

/// Digits of a float without its sign.
pub(crate) fn real(float: f64, kind: Option<char>, precision: Option<usize>) -> Outcome<String> {
    if precision.is_some_and(|precision| precision > PRECISION_MAX) {
        return fail(format!("a precision beyond {PRECISION_MAX} is not supported"));
    }
    let size = float.abs();
    let (kind, upper) =
        (kind.map(|k| k.to_ascii_lowercase()), kind.is_some_and(|k| k.is_uppercase()));
    let text = match kind {
        _ if !float.is_finite() => {
            let sign = if kind == Some('%') { "%" } else { "" };
            format!("{}{sign}", if float.is_nan() { "nan" } else { "inf" })
        }
        Some('f') => format!("{size:.*}", precision.unwrap_or(6)),
        Some('%') => format!("{:.*}%", precision.unwrap_or(6), size * 100.0),
        Some('e') => exponential(size, precision.unwrap_or(6)),
        Some('g') => general(size, precision.unwrap_or(6).max(1)),
        None if precision.is_none() => super::number::float(size),
        _ => return fail("a precision without a format code is not supported"),
    };
    Ok(if upper { text.to_uppercase() } else { text })
}

fn exponential(size: f64, precision: usize) -> String {
    let written = format!("{size:.precision$e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn general(size: f64, precision: usize) -> String {
    let written = exponential(size, precision - 1);
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let places: i32 = exponent.parse().unwrap_or(0);
    let precision = i32::try_from(precision).unwrap_or(i32::MAX);
    let trim = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if (-4..precision).contains(&places) {
        let behind = usize::try_from(precision - 1 - places).unwrap_or(0);
        return trim(&format!("{size:.behind$}"));
    }
    format!("{}e{exponent}", trim(digits))
}

fn grouped(digits: &str, separator: char, kind: Option<char>) -> String {
    let size = if matches!(kind, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    let end =
        if size == 3 { digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(end) } else { end };
    let mut text = String::new();
    for (i, digit) in digits[..end].chars().enumerate() {
        if i > 0 && (end - i) % size == 0 {
            text.push(separator);
        }
        text.push(digit);
    }
    text + &digits[end..]
}
