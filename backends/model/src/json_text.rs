//! JSON as Python's `json` module writes and reads it, made standard.
//!
//! The configurations of Hugging Face are written by Python: they may hold `NaN` and `Infinity`,
//! and may have gone through editors that put a byte order mark before them. A key that stands
//! twice is `serde_json::Value`'s matter: the last one counts there, as in Python.

use std::borrow::Cow;

/// Words that Python knows and JSON does not.
const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// The same text without a byte order mark and with Python's words as strings: where a number is
/// wanted the reader says so, and elsewhere nobody minds.
#[must_use]
pub fn strict(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let is_there = |word: &str| bytes.windows(word.len()).any(|w| w == word.as_bytes());
    if !WORDS[1..].iter().any(|word| is_there(word)) {
        return Cow::Borrowed(bytes);
    }
    let (mut made, mut at, mut in_text) = (Vec::with_capacity(bytes.len() + 16), 0, false);
    while let Some(byte) = bytes.get(at) {
        let word = WORDS.iter().find(|w| !in_text && bytes[at..].starts_with(w.as_bytes()));
        if let Some(word) = word {
            made.push(b'"');
            made.extend_from_slice(word.as_bytes());
            made.push(b'"');
            at += word.len();
            continue;
        }
        // What a backslash escapes ends no text.
        let length = if in_text && *byte == b'\\' { 2 } else { 1 };
        in_text ^= *byte == b'"';
        made.extend(bytes[at..].iter().take(length));
        at += length;
    }
    Cow::Owned(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_becomes_json() {
        let check = |text: &str, expect: &str| {
            assert_eq!(String::from_utf8_lossy(&strict(text.as_bytes())), expect);
        };
        check(r#"{"a": 1}"#, r#"{"a": 1}"#);
        check("\u{FEFF}{}", "{}");
        check("[NaN, -Infinity,Infinity]", r#"["NaN", "-Infinity","Infinity"]"#);
        check(r#"{"NaN": "\"Infinity", "b": NaN}"#, r#"{"NaN": "\"Infinity", "b": "NaN"}"#);
        check(r#"["\\", NaN, "\"#, r#"["\\", "NaN", "\"#);
        check("", "");
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let json: serde_json::Value =
            serde_json::from_slice(&strict(br#"{"a": 1, "a": Infinity, "b": 2, "a": 3}"#))
                .expect("JSON of Python");
        assert_eq!(json, serde_json::json!({"a": 3, "b": 2}));
    }
}
