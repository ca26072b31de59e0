//! A template's source to tokens, with Jinja's control of white space as `transformers` sets it
//! (`trim_blocks`, `lstrip_blocks`, no newline kept at the end).
//!
//! Line statements and other delimiters do not exist. Next: `parser.rs`.

use std::sync::Arc;

use super::meter::{Fault, Outcome};
use super::text::is_space;

/// A token and its line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) line: u32,
    pub(crate) kind: Lexeme,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Lexeme {
    Data(String),
    PrintBegin,
    PrintEnd,
    BlockBegin,
    BlockEnd,
    Name(Arc<str>),
    Text(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    End,
}

const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[", "]", "(", ")", "{", "}",
    ".", ":", ",", "|", "=", "<", ">", ";",
];

/// Cuts a source into tokens; the last is `End`.
pub(crate) fn tokens(source: &str) -> Outcome<Vec<Token>> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { source, at: 0, line: 1, tokens: Vec::new(), line_starting: true };
    while lexer.at < source.len() {
        lexer.root()?;
    }
    lexer.push(Lexeme::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    tokens: Vec<Token>,
    /// What came before ended a line.
    line_starting: bool,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn fail<T>(&self, why: impl Into<String>) -> Outcome<T> {
        Err(Fault { why: why.into(), line: Some(self.line) })
    }

    fn push(&mut self, kind: Lexeme) {
        self.tokens.push(Token { line: self.line, kind });
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.rest()[..bytes];
        let lines = passed.bytes().filter(|b| *b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.line_starting = passed.ends_with('\n');
        self.at += bytes;
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.advance(rest.len() - rest.trim_start_matches(is_space).len());
    }

    /// Text up to the next tag, and the tag.
    fn root(&mut self) -> Outcome<()> {
        let rest = self.rest();
        let tag = |at: &usize| matches!(rest.as_bytes().get(at + 1), Some(b'%' | b'{' | b'#'));
        let Some(at) = rest.match_indices('{').map(|(at, _)| at).find(tag) else {
            self.push(Lexeme::Data(rest.to_owned()));
            self.advance(rest.len());
            return Ok(());
        };
        let kind = rest.as_bytes()[at + 1];
        let sign = rest.as_bytes().get(at + 2).copied().filter(|b| matches!(b, b'-' | b'+'));
        let text = self.stripped(&rest[..at], sign, kind != b'{');
        if !text.is_empty() {
            self.push(Lexeme::Data(text.to_owned()));
        }
        self.advance(at + 2 + usize::from(sign.is_some()));
        match kind {
            b'#' => self.comment(),
            b'{' => self.tag(Lexeme::PrintBegin, Lexeme::PrintEnd, "}}"),
            _ if self.raw()? => Ok(()),
            _ => self.tag(Lexeme::BlockBegin, Lexeme::BlockEnd, "%}"),
        }
    }

    /// The text before a tag, without the white space that the tag takes along.
    fn stripped<'t>(&self, text: &'t str, sign: Option<u8>, lstrip: bool) -> &'t str {
        if sign == Some(b'-') {
            return text.trim_end_matches(is_space);
        }
        let line = text.rfind('\n').map_or(0, |at| at + 1);
        let begins = line > 0 || self.line_starting;
        if sign.is_none() && lstrip && begins && text[line..].chars().all(is_space) {
            return &text[..line];
        }
        text
    }

    /// Passes the end of a tag, its sign, and the white space it takes along; `at` is where the
    /// end (without its sign) stands.
    fn end(&mut self, at: usize, sign: Option<u8>, trims: bool) {
        self.advance(at + 2);
        match sign {
            Some(b'-') => {
                self.skip_space();
                self.line_starting = self.source[..self.at].ends_with('\n');
            }
            None if trims && self.rest().starts_with('\n') => self.advance(1),
            _ => {}
        }
    }

    fn comment(&mut self) -> Outcome<()> {
        let rest = self.rest();
        let Some(at) = rest.find("#}") else {
            return self.fail("a comment has no end");
        };
        let sign = rest[..at].bytes().last().filter(|b| matches!(b, b'-' | b'+'));
        self.end(at, sign, true);
        Ok(())
    }

    /// `{% raw %}` after its `{%`; false where it is another tag.
    fn raw(&mut self) -> Outcome<bool> {
        let rest = self.rest();
        let word = |text: &'s str, word: &str| {
            let text = text.trim_start_matches(is_space).strip_prefix(word)?;
            Some(text.trim_start_matches(is_space))
        };
        let Some(after) = word(rest, "raw") else { return Ok(false) };
        let after = match (after.strip_prefix("-%}"), after.strip_prefix("%}")) {
            (Some(after), _) => after.trim_start_matches(is_space),
            (_, Some(after)) => after,
            _ => return Ok(false),
        };
        self.advance(rest.len() - after.len());
        let body = self.rest();
        for (at, _) in body.match_indices("{%") {
            let sign = body.as_bytes().get(at + 2).copied().filter(|b| matches!(b, b'-' | b'+'));
            let inner = &body[at + 2 + usize::from(sign.is_some())..];
            let Some(tail) = word(inner, "endraw") else { continue };
            let end = ["+%}", "-%}", "%}"].into_iter().find(|end| tail.starts_with(end));
            let Some(end) = end else { continue };
            let text = self.stripped(&body[..at], sign, true);
            if !text.is_empty() {
                self.push(Lexeme::Data(text.to_owned()));
            }
            let sign = end.bytes().next().filter(|b| *b != b'%');
            self.end(body.len() - tail.len() + end.len() - 2, sign, true);
            return Ok(true);
        }
        self.fail("a raw block has no end")
    }

    fn tag(&mut self, begin: Lexeme, end: Lexeme, close: &str) -> Outcome<()> {
        self.push(begin);
        let mut open: Vec<char> = Vec::new();
        loop {
            self.skip_space();
            let rest = self.rest();
            if open.is_empty() {
                let is_block = close == "%}";
                let sign = rest.bytes().next().filter(|b| *b == b'-' || (*b == b'+' && is_block));
                let at = usize::from(sign.is_some());
                if rest[at..].starts_with(close) {
                    self.push(end);
                    self.end(at, sign, is_block);
                    return Ok(());
                }
            }
            let Some(first) = rest.chars().next() else {
                return self.fail(format!("a tag has no end, {close:?} is missing"));
            };
            match first {
                '\'' | '"' => self.string(first)?,
                '0'..='9' => self.number()?,
                _ if first == '_' || first.is_alphanumeric() => self.name(),
                _ => self.operator(&mut open)?,
            }
        }
    }

    fn name(&mut self) {
        let rest = self.rest();
        let part = |c: char| c == '_' || c.is_alphanumeric();
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        self.push(Lexeme::Name(rest[..end].into()));
        self.advance(end);
    }

    fn operator(&mut self, open: &mut Vec<char>) -> Outcome<()> {
        let rest = self.rest();
        let Some(op) = OPERATORS.into_iter().find(|op| rest.starts_with(op)) else {
            let letter: String = rest.chars().take(1).collect();
            return self.fail(format!("unexpected character {letter:?}"));
        };
        match op {
            "(" => open.push(')'),
            "[" => open.push(']'),
            "{" => open.push('}'),
            ")" | "]" | "}" if open.pop().is_none_or(|close| !op.starts_with(close)) => {
                return self.fail(format!("unexpected {op:?}"));
            }
            _ => {}
        }
        self.push(Lexeme::Op(op));
        self.advance(op.len());
        Ok(())
    }

    /// The length of digits with single underscores between them.
    fn digits(text: &str, is_digit: impl Fn(u8) -> bool) -> usize {
        let bytes = text.as_bytes();
        let mut end = 0;
        while end < bytes.len() {
            match bytes[end] {
                b if is_digit(b) => end += 1,
                b'_' if end > 0 && bytes.get(end + 1).is_some_and(|b| is_digit(*b)) => end += 1,
                _ => break,
            }
        }
        end
    }

    fn number(&mut self) -> Outcome<()> {
        let rest = self.rest();
        let decimal = |text: &str| Self::digits(text, |b| b.is_ascii_digit());
        let whole = decimal(rest);
        let mut end = whole;
        if rest[end..].starts_with('.') && decimal(&rest[end + 1..]) > 0 {
            end += 1 + decimal(&rest[end + 1..]);
        }
        if rest[end..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
            let digits = decimal(&rest[end + 1 + sign..]);
            end += if digits > 0 { 1 + sign + digits } else { 0 };
        }
        // `message.0.5`: after a point stands an index.
        let after_point = self.at > 0 && self.source.as_bytes()[self.at - 1] == b'.';
        if end > whole && !after_point {
            let text = rest[..end].replace('_', "");
            let Ok(float) = text.parse() else { return self.fail("a broken number") };
            self.push(Lexeme::Float(float));
            self.advance(end);
            return Ok(());
        }
        let (radix, skip) = match rest.as_bytes().get(1).map(u8::to_ascii_lowercase) {
            Some(b'x') if rest.starts_with('0') => (16, 2),
            Some(b'o') if rest.starts_with('0') => (8, 2),
            Some(b'b') if rest.starts_with('0') => (2, 2),
            _ => (10, 0),
        };
        let digit = |b: u8| char::from(b).is_digit(radix);
        let written = rest[skip..].trim_start_matches('_');
        let mut end = rest.len() - written.len() + Self::digits(written, digit);
        if radix == 10 && rest.starts_with('0') {
            end = Self::digits(rest, |b| b == b'0');
        }
        let text = rest[skip..end].replace('_', "");
        let Ok(int) = i128::from_str_radix(&text, radix) else {
            return self.fail("an integer that is broken or beyond 127 bits");
        };
        self.push(Lexeme::Int(int));
        self.advance(end);
        Ok(())
    }

    /// A string with Python's escapes.
    fn string(&mut self, quote: char) -> Outcome<()> {
        let rest = self.rest();
        let mut text = String::new();
        let mut letters = rest.char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.push(Lexeme::Text(text));
                self.advance(at + 1);
                return Ok(());
            }
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            let Some((at, escaped)) = letters.next() else { break };
            let (made, more) = self.escape(escaped, &rest[at + escaped.len_utf8()..])?;
            text.push_str(&made);
            if more > 0 {
                letters.nth(more - 1);
            }
        }
        self.fail("a string has no end")
    }

    /// What an escape stands for, and how many characters more it takes.
    fn escape(&self, letter: char, after: &str) -> Outcome<(String, usize)> {
        let code = |digits: usize, radix: u32| {
            let text: String = after.chars().take(digits).collect();
            let code = u32::from_str_radix(&text, radix).ok().and_then(char::from_u32);
            match code.filter(|_| text.len() == digits && !text.starts_with('+')) {
                Some(code) => Ok((code.to_string(), digits)),
                None => self.fail(format!("a string has a broken escape \\{letter}{text}")),
            }
        };
        let simple = match letter {
            'n' => "\n",
            't' => "\t",
            'r' => "\r",
            'a' => "\u{7}",
            'b' => "\u{8}",
            'f' => "\u{c}",
            'v' => "\u{b}",
            '\n' => "",
            '\\' => "\\",
            '\'' => "'",
            '"' => "\"",
            'x' => return code(2, 16),
            'u' => return code(4, 16),
            'U' => return code(8, 16),
            'N' => return self.fail("escapes \\N{…} in strings are not supported"),
            '0'..='7' => {
                let more = after.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let text = format!("{letter}{}", &after[..more]);
                let code = u32::from_str_radix(&text, 8).ok().and_then(char::from_u32);
                return Ok((code.map(String::from).unwrap_or_default(), more));
            }
            // Python keeps what it does not know.
            other => return Ok((format!("\\{other}"), 0)),
        };
        Ok((simple.to_owned(), 0))
    }
}
