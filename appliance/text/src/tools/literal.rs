//! A literal of Python as JSON.
//!
//! Only what `ast.literal_eval` takes and JSON can say, and JSON's own words; nothing is evaluated.
//! Numbers keep their digits. Next: `xml.rs`.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::json;

/// How deep lists and dicts may be nested.
const DEPTH_MAX: usize = 64;

/// JSON of the same meaning; `None` where the text is something else.
pub(super) fn json(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text.chars().peekable(), out: String::new() };
    reader.value(DEPTH_MAX)?;
    reader.blanks();
    reader.rest.next().is_none().then_some(reader.out)
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    out: String,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        self.blanks();
        match *self.rest.peek()? {
            '"' | '\'' => {
                let text = self.text()?;
                self.out += &json!(text).to_string();
            }
            '[' | '(' | '{' if depth == 0 => return None,
            '[' => self.items(']', depth)?,
            // Without a comma it is no tuple, but then JSON has no better word.
            '(' => self.items(')', depth)?,
            '{' => self.members(depth)?,
            c if c.is_ascii_digit() || "+-.".contains(c) => self.number()?,
            _ => {
                let word = self.take(char::is_alphanumeric);
                self.out += match word.as_str() {
                    "None" | "null" => "null",
                    "True" | "true" => "true",
                    "False" | "false" => "false",
                    _ => return None,
                };
            }
        }
        Some(())
    }

    fn take(&mut self, is_part: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.rest.next_if(|c| is_part(*c)) {
            text.push(c);
        }
        text
    }

    fn items(&mut self, end: char, depth: usize) -> Option<()> {
        self.rest.next();
        self.out.push('[');
        let mut is_first = true;
        loop {
            self.blanks();
            if self.rest.next_if_eq(&end).is_some() {
                self.out.push(']');
                return Some(());
            }
            if !is_first {
                self.out += ", ";
            }
            is_first = false;
            self.value(depth - 1)?;
            self.comma(end)?;
        }
    }

    fn members(&mut self, depth: usize) -> Option<()> {
        self.rest.next();
        self.out.push('{');
        let mut is_first = true;
        loop {
            self.blanks();
            if self.rest.next_if_eq(&'}').is_some() {
                self.out.push('}');
                return Some(());
            }
            if !is_first {
                self.out += ", ";
            }
            is_first = false;
            let key = self.text()?;
            write!(self.out, "{}: ", json!(key)).ok()?;
            self.blanks();
            self.rest.next_if_eq(&':')?;
            self.value(depth - 1)?;
            self.comma('}')?;
        }
    }

    /// A comma, or the end behind it.
    fn comma(&mut self, end: char) -> Option<()> {
        self.blanks();
        (self.rest.next_if_eq(&',').is_some() || self.rest.peek() == Some(&end)).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let text = self.take(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        let plain = text.replace('_', "");
        let digits = plain.strip_prefix('+').unwrap_or(&plain);
        let whole = digits.strip_prefix('-').unwrap_or(digits);
        if !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit()) {
            let is_written_once = whole == "0" || !whole.starts_with('0');
            self.out += is_written_once.then_some(digits)?;
            return Some(());
        }
        // Words such as `inf` would be read too.
        let is_plain = whole.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        let number: f64 = digits.parse().ok().filter(|_| is_plain)?;
        self.out += &serde_json::Number::from_f64(number)?.to_string();
        Some(())
    }

    /// Strings, one behind the other, which are one.
    fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut has_one = false;
        while let Some(quote) = self.rest.next_if(|c| matches!(c, '"' | '\'')) {
            has_one = true;
            loop {
                match self.rest.next()? {
                    c if c == quote => break,
                    '\\' => self.escape(&mut text)?,
                    c => text.push(c),
                }
            }
            self.blanks();
        }
        has_one.then_some(text)
    }

    fn escape(&mut self, text: &mut String) -> Option<()> {
        let c = match self.rest.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'a' => '\u{7}',
            'v' => '\u{b}',
            '0' => '\0',
            '\n' => return Some(()),
            c @ ('\\' | '\'' | '"') => c,
            'x' => self.coded(2)?,
            'u' => self.coded(4)?,
            'U' => self.coded(8)?,
            // Python keeps the backslash of what it does not know.
            c => {
                text.push('\\');
                c
            }
        };
        text.push(c);
        Some(())
    }

    /// A letter by its code; two halves of UTF-16 are one.
    fn coded(&mut self, digits: usize) -> Option<char> {
        let first = self.code(digits)?;
        let is_half = digits == 4 && (0xD800..0xDC00).contains(&first);
        if !is_half {
            return char::from_u32(first);
        }
        self.rest.next_if_eq(&'\\')?;
        self.rest.next_if_eq(&'u')?;
        let second = self.code(4).filter(|code| (0xDC00..0xE000).contains(code))?;
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    }

    fn code(&mut self, digits: usize) -> Option<u32> {
        let code: String = self.rest.by_ref().take(digits).collect();
        let is_code = code.len() == digits && code.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(&code, 16).ok().filter(|_| is_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_mean_the_same_in_json() {
        for (python, expect) in [
            ("None", Some("null")),
            (" True ", Some("true")),
            ("-12", Some("-12")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            ("1_000", Some("1000")),
            ("+.5", Some("0.5")),
            ("1e400", None),
            ("inf", None),
            ("007", None),
            ("'it\\'s \"x\"'", Some(r#""it's \"x\"""#)),
            (r#""\u00e9\x41\d\n""#, Some(r#""éA\\d\n""#)),
            (r#""\ud83d\ude00""#, Some("\"😀\"")),
            (r#""\ud83d""#, None),
            ("'a' \"b\"", Some("\"ab\"")),
            ("'''a'''", Some("\"a\"")),
            ("[1, 'a', (2, 3), []]", Some("[1, \"a\", [2, 3], []]")),
            ("{'a': {'b': None},}", Some("{\"a\": {\"b\": null}}")),
            ("{1: 2}", None),
            ("{1, 2}", None),
            ("[1 2]", None),
            ("[,]", None),
            ("f()", None),
            ("x", None),
            ("1 + 2", None),
            ("", None),
            (&"[".repeat(99), None),
        ] {
            assert_eq!(json(python).as_deref(), expect, "{python}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_of_it_is_json(text in r#"[\[\](){}"',:\\xuTrueNone0-9.e+\- ]{0,24}"#) {
            if let Some(out) = json(&text) {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&out).is_ok(), "{out}");
            }
        }
    }
}
