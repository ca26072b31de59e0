//! Where a piece of JSON ends, letter by letter.
//!
//! No tree is built. Raw control characters in strings, which models write and JSON forbids, are
//! taken and handed on as escapes. Next: `object.rs`.

use std::fmt::Write;

use super::calls::Fed;

/// How deep lists and objects may be nested.
const DEPTH_MAX: usize = 128;

/// One value of JSON.
#[derive(Debug)]
pub(super) struct Scan {
    at: At,
    /// The lists and objects that are open; true for an object.
    open: Vec<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Value,
    /// At a list's beginning.
    ValueOrEnd,
    Key,
    /// At an object's beginning.
    KeyOrEnd,
    Colon,
    /// Behind a value in a list or an object.
    After,
    Text {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    Hex {
        is_key: bool,
        left: u8,
    },
    Word(&'static str),
    Number(Number),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Sign,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { at: At::Value, open: Vec::new() }
    }

    /// Takes a letter, and writes it where it belongs to the value.
    pub(super) fn feed(&mut self, c: char, out: &mut String) -> Fed {
        let is_raw = matches!(self.at, At::Text { .. }) && c < ' ';
        let fed = self.step(c);
        match fed {
            Fed::More | Fed::Done if is_raw => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            Fed::More | Fed::Done => out.push(c),
            Fed::Before | Fed::Wrong => {}
        }
        fed
    }

    fn step(&mut self, c: char) -> Fed {
        match self.at {
            At::Text { is_key } => match c {
                '"' if is_key => self.go(At::Colon),
                '"' => self.ended(),
                '\\' => self.go(At::Escape { is_key }),
                _ => Fed::More,
            },
            At::Escape { is_key } => match c {
                'u' => self.go(At::Hex { is_key, left: 4 }),
                '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => self.go(At::Text { is_key }),
                _ => Fed::Wrong,
            },
            At::Hex { is_key, left } if c.is_ascii_hexdigit() => match left {
                1 => self.go(At::Text { is_key }),
                _ => self.go(At::Hex { is_key, left: left - 1 }),
            },
            At::Hex { .. } => Fed::Wrong,
            At::Word(rest) => match rest.strip_prefix(c) {
                Some("") => self.ended(),
                Some(rest) => self.go(At::Word(rest)),
                None => Fed::Wrong,
            },
            At::Number(number) => self.number(number, c),
            _ if matches!(c, ' ' | '\t' | '\n' | '\r') => Fed::More,
            At::ValueOrEnd if c == ']' => self.close(false),
            At::Value | At::ValueOrEnd => self.value(c),
            At::KeyOrEnd if c == '}' => self.close(true),
            At::Key | At::KeyOrEnd if c == '"' => self.go(At::Text { is_key: true }),
            At::Colon if c == ':' => self.go(At::Value),
            At::After => match (c, self.open.last()) {
                (',', Some(true)) => self.go(At::Key),
                (',', _) => self.go(At::Value),
                ('}', Some(true)) => self.close(true),
                (']', Some(false)) => self.close(false),
                _ => Fed::Wrong,
            },
            At::Key | At::KeyOrEnd | At::Colon => Fed::Wrong,
        }
    }

    fn value(&mut self, c: char) -> Fed {
        match c {
            '{' | '[' if self.open.len() == DEPTH_MAX => Fed::Wrong,
            '{' => {
                self.open.push(true);
                self.go(At::KeyOrEnd)
            }
            '[' => {
                self.open.push(false);
                self.go(At::ValueOrEnd)
            }
            '"' => self.go(At::Text { is_key: false }),
            't' => self.go(At::Word("rue")),
            'f' => self.go(At::Word("alse")),
            'n' => self.go(At::Word("ull")),
            '-' => self.go(At::Number(Number::Sign)),
            '0' => self.go(At::Number(Number::Zero)),
            '1'..='9' => self.go(At::Number(Number::Whole)),
            _ => Fed::Wrong,
        }
    }

    fn number(&mut self, at: Number, c: char) -> Fed {
        let next = match (at, c) {
            (Number::Sign, '0') => Number::Zero,
            (Number::Sign, '1'..='9') | (Number::Whole, '0'..='9') => Number::Whole,
            (Number::Zero | Number::Whole, '.') => Number::Point,
            (Number::Point | Number::Fraction, '0'..='9') => Number::Fraction,
            (Number::Zero | Number::Whole | Number::Fraction, 'e' | 'E') => Number::E,
            (Number::E, '+' | '-') => Number::ESign,
            (Number::E | Number::ESign | Number::Exponent, '0'..='9') => Number::Exponent,
            (Number::Zero | Number::Whole | Number::Fraction | Number::Exponent, _) => {
                // It has ended, and this letter is what comes behind it.
                return match self.ended() {
                    Fed::Done => Fed::Before,
                    _ => self.step(c),
                };
            }
            _ => return Fed::Wrong,
        };
        self.go(At::Number(next))
    }

    fn go(&mut self, at: At) -> Fed {
        self.at = at;
        Fed::More
    }

    fn close(&mut self, is_object: bool) -> Fed {
        match self.open.pop() == Some(is_object) {
            true => self.ended(),
            false => Fed::Wrong,
        }
    }

    /// A value ended.
    fn ended(&mut self) -> Fed {
        self.at = At::After;
        if self.open.is_empty() { Fed::Done } else { Fed::More }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What was read of a text, and how it ended.
    fn scanned(text: &str) -> (String, Fed) {
        let (mut scan, mut out) = (Scan::new(), String::new());
        for c in text.chars() {
            match scan.feed(c, &mut out) {
                Fed::More => {}
                fed => return (out, fed),
            }
        }
        (out, Fed::More)
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        for (text, out, fed) in [
            (r#"{"a": [1, -2.5e+3, {}], "b\"}": null} x"#, Some(37), Fed::Done),
            ("12,", Some(2), Fed::Before),
            ("[]]", Some(2), Fed::Done),
            (r#""a\u00e9" "#, Some(9), Fed::Done),
            ("true", Some(4), Fed::Done),
            ("[1", None, Fed::More),
            ("[1,]", None, Fed::Wrong),
            ("{,}", None, Fed::Wrong),
            ("[1}", None, Fed::Wrong),
            ("01", Some(1), Fed::Before),
            ("1.e", None, Fed::Wrong),
            (r#""\x""#, None, Fed::Wrong),
            ("'a'", None, Fed::Wrong),
            (&"[".repeat(129), None, Fed::Wrong),
        ] {
            let (found, how) = scanned(text);
            assert_eq!(how, fed, "{text}");
            assert!(out.is_none_or(|bytes| found == text[..bytes]), "{text}: {found}");
        }
        assert_eq!(scanned("\"a\nb\"").0, "\"a\\u000ab\"", "a raw line feed is escaped");
    }

    proptest! {
        #[test]
        fn what_is_read_whole_is_json_and_json_is_read_whole(
            text in r#"[\[\]{}",:\\untrefals0-9.eE+\- \n]{0,24}"#,
        ) {
            let (out, fed) = scanned(&(text.clone() + "\n"));
            let ended = matches!(fed, Fed::Done | Fed::Before);
            prop_assert!(!ended || serde_json::from_str::<serde::de::IgnoredAny>(&out).is_ok());
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
                prop_assert!(ended, "{text}");
                prop_assert_eq!(out.trim(), text.trim());
            }
        }
    }
}
