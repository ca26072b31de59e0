//! Numbers as Python reads and writes them. Next: `print.rs`.

/// `repr(float)`: the shortest digits that give the number back.
pub(crate) fn float(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `float(text)`.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let text = trimmed(text)?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text).to_ascii_lowercase();
    let named = ["inf", "infinity", "nan"].contains(&unsigned.as_str());
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-');
    if !named && !unsigned.bytes().all(plain) {
        return None;
    }
    text.parse().ok()
}

/// `int(text, base)`; too large ones are `Err`.
pub(crate) fn parse_int(text: &str, base: u32) -> Result<Option<i128>, ()> {
    let Some(text) = trimmed(text) else { return Ok(None) };
    let text = text.to_ascii_lowercase();
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefix = prefixes
        .into_iter()
        .find(|(prefix, radix)| unsigned.starts_with(prefix) && (base == 0 || base == *radix));
    let (digits, radix) = match prefix {
        Some((prefix, radix)) => (&unsigned[prefix.len()..], radix),
        None if base == 0 && unsigned.starts_with('0') && unsigned.bytes().any(|b| b != b'0') => {
            return Ok(None);
        }
        None => (unsigned, if base == 0 { 10 } else { base }),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Ok(None);
    }
    let value = i128::from_str_radix(digits, radix).map_err(|_| ())?;
    Ok(Some(if negative { -value } else { value }))
}

/// A number's text without the blanks around it and the underscores between digits. Digits of
/// other scripts are Python's digits too.
fn trimmed(text: &str) -> Option<String> {
    let text = text.trim_matches(super::text::is_space);
    let letters: Vec<char> = text.chars().map(|c| super::letters::digit(c).unwrap_or(c)).collect();
    let digit = |at: Option<&char>| at.is_some_and(char::is_ascii_alphanumeric);
    let mut plain = String::with_capacity(letters.len());
    for (i, letter) in letters.iter().enumerate() {
        match letter {
            '_' if i > 0 && digit(letters.get(i - 1)) && digit(letters.get(i + 1)) => {}
            '_' => return None,
            other => plain.push(*other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (number, expect) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e22, "1e+22"),
            (5e-324, "5e-324"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float(number), expect);
        }
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        for (text, base, expect) in [
            (" 12 ", 10, Some(12)),
            ("-1_000", 10, Some(-1000)),
            ("0x1f", 16, Some(31)),
            ("1f", 16, Some(31)),
            ("0b11", 0, Some(3)),
            ("010", 0, None),
            ("1__0", 10, None),
            ("_1", 10, None),
            ("", 10, None),
            ("٣", 10, Some(3)),
        ] {
            assert_eq!(parse_int(text, base), Ok(expect), "{text:?}");
        }
        assert_eq!(parse_int(&"9".repeat(60), 10), Err(()));
    }
}
