//! The syntax of `java.util.Properties`, in which LMI's files are written.
//!
//! **Source**: its `load(Reader)` of Java SE 21: a line is continued by an odd number of backslashes at
//! its end; a key ends at a blank, `=` or `:`; blanks before key and value say nothing, those after a
//! value belong to it. Bytes that are no UTF-8 are Latin-1, which is Java's encoding of such a file.

use crate::files::Line;

/// All entries in order; of a key that is there twice the last counts, which is for the caller.
pub(crate) fn properties(bytes: &[u8]) -> Vec<Line> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let mut lines = natural_lines(&text).into_iter().zip(1_u32..);
    let mut entries = Vec::new();
    while let Some((first, number)) = lines.next() {
        let mut logical = first.trim_start_matches(is_blank).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while is_continued(&logical) {
            logical.pop();
            let Some((more, _)) = lines.next() else { break };
            logical += more.trim_start_matches(is_blank);
        }
        if !logical.is_empty() {
            entries.push(entry(&logical, number));
        }
    }
    entries
}

/// Lines that end with `\n`, `\r` or both.
fn natural_lines(text: &str) -> Vec<&str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect()
}

/// What Java counts as white space here.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn is_continued(line: &str) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    !backslashes.is_multiple_of(2)
}

fn entry(logical: &str, line: u32) -> Line {
    let mut is_escaped = false;
    let ends = |c: char| {
        let ends = !is_escaped && (is_blank(c) || c == '=' || c == ':');
        is_escaped = c == '\\' && !is_escaped;
        ends
    };
    let (key, rest) = logical.split_at(logical.find(ends).unwrap_or(logical.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    match (unescaped(key), unescaped(value)) {
        (Some(key), Some(value)) => Line { key, value: Ok(value), line },
        _ => Line { key: key.to_owned(), value: Err("\\u wants four hexadecimal digits"), line },
    }
}

/// The text that escapes mean; `None` for a `\u` without its digits, which Java refuses.
fn unescaped(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            // A backslash at the very end means nothing.
            '\\' => match chars.next() {
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let is_hex = digits.len() == 4 && digits.chars().all(|d| d.is_ascii_hexdigit());
                    units.push(u16::from_str_radix(is_hex.then_some(digits.as_str())?, 16).ok()?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_own_syntax_is_read_as_java_reads_it() {
        type Entries = &'static [(&'static str, &'static str, u32)];
        let cases: &[(&[u8], Entries)] = &[
            (b"a=b\nc:d\r\ne f\rg", &[("a", "b", 1), ("c", "d", 2), ("e", "f", 3), ("g", "", 4)]),
            (b"\n \t\x0c\n# x=1\n  ! y=2\\\n z\t=\tv \n", &[("z", "v ", 5)]),
            (b"a = : b\nc  =\n= d\n", &[("a", ": b", 1), ("c", "", 2), ("", "d", 3)]),
            (b"a=b\\\n   c\\\r\n\t d\ne=f", &[("a", "bcd", 1), ("e", "f", 4)]),
            (b"a=b\\\\\nc=d\\\\\\\n e", &[("a", "b\\", 1), ("c", "d\\e", 2)]),
            (b"a=b\\\n\nc=d", &[("a", "b", 1), ("c", "d", 3)]),
            (b"a=b\\\n#c\n\\\n\nd=e\\", &[("a", "b#c", 1), ("d", "e", 5)]),
            (b"a\\ b\\=c\\:=d\\:e", &[("a b=c:", "d:e", 1)]),
            (b"caf\\u00e9=\\u0041\\t\\n\\q\\\\", &[("caf\u{e9}", "A\t\nq\\", 1)]),
            (b"a=\\ud83d\\ude00 \\ud83d", &[("a", "\u{1f600} \u{fffd}", 1)]),
            (b"# caf\xe9\na=\xe9\xfc", &[("a", "\u{e9}\u{fc}", 2)]),
            ("a=\u{e9}\u{65e5}".as_bytes(), &[("a", "\u{e9}\u{65e5}", 1)]),
            (b"\xef\xbb\xbfa=b", &[("a", "b", 1)]),
            (b"a=1\na=2", &[("a", "1", 1), ("a", "2", 2)]),
            (b"a=b\\", &[("a", "b", 1)]),
            (b"", &[]),
        ];
        for (text, expect) in cases {
            let found = properties(text);
            let found: Vec<_> = found
                .iter()
                .map(|l| (l.key.as_str(), l.value.as_deref().expect("well formed"), l.line))
                .collect();
            assert_eq!(found, *expect, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_broken_escape_is_told_and_harms_no_other_line() {
        for text in ["a=\\u12\nb=1", "a=\\uXYZW\nb=1", "\\u+123=1\nb=1", "a=\\u\nb=1"] {
            let found = properties(text.as_bytes());
            assert_eq!(found.len(), 2, "{text}");
            assert!(found[0].value.is_err(), "{text}");
            assert_eq!(found[1].value.as_deref(), Ok("1"), "{text}");
        }
    }
}
