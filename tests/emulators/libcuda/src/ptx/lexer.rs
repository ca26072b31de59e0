//! Tokens of PTX, each with its line.

use super::error::{PtxError, error};

/// A token: a word (with the dots, `%` and `$` that belong to it) or one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) line: u32,
}

/// All tokens without comments.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, PtxError> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if first.is_whitespace() => first.len_utf8(),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => match rest.find("*/") {
                Some(end) => end + 2,
                None => return Err(error(line, "a comment without end")),
            },
            '"' => match rest[1..].find('"') {
                Some(end) => end + 2,
                None => return Err(error(line, "a string without end")),
            },
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ if ",;:{}[]()+-<>=!@|".contains(first) => 1,
            _ => return Err(error(line, &format!("the character {first:?}"))),
        };
        let (token, after) = rest.split_at(length);
        let is_comment = token.starts_with("//") || token.starts_with("/*");
        if !first.is_whitespace() && !is_comment {
            tokens.push(Token { text: token, line });
        }
        line += u32::try_from(token.matches('\n').count()).unwrap_or(0);
        rest = after;
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._%$".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_dots_and_comments_go() {
        let found = tokens("ld.global.nc.u32 %r1,[%rd2+4]; // why\n/* two\nlines */ $L__BB0_1:");
        let found = found.expect("tokens");
        let texts: Vec<&str> = found.iter().map(|token| token.text).collect();
        let expect = ["ld.global.nc.u32", "%r1", ",", "[", "%rd2", "+", "4", "]", ";", "$L__BB0_1"];
        assert_eq!(texts[..10], expect);
        assert_eq!((texts[10], found[10].line), (":", 3));
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for text in ["/* never", ".pragma \"never", "#"] {
            assert!(tokens(text).is_err(), "{text}");
        }
    }
}
