//! Tokens that are not made of text: finding them where they may be found, and guarding user text
//! against them.
//!
//! Ordinary text is not tokenized here. Next: `tokenizer.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

/// A Unicode noncharacter, set into user text to break what looks like a control token. Encoding
/// drops it again, so the text's own tokens stay what they were.
pub(crate) const GUARD: char = '\u{FDD0}';

/// All tokens that are matched literally.
#[derive(Debug, Default)]
pub(crate) struct Specials {
    tokens: HashMap<Box<str>, Special>,
    /// Lengths in bytes of the tokens that begin with a byte, longest first.
    lengths: HashMap<u8, Vec<usize>>,
}

/// A token that is matched literally.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Special {
    pub(crate) id: u32,
    pub(crate) control: bool,
    /// Takes the blanks before it along.
    pub(crate) lstrip: bool,
    /// Takes the blanks after it along.
    pub(crate) rstrip: bool,
}

/// A piece of text or a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Text(Cow<'t, str>),
    Token(u32),
}

impl Specials {
    pub(crate) fn insert(&mut self, text: &str, special: Special) {
        let Some(first) = text.bytes().next() else { return };
        let lengths = self.lengths.entry(first).or_default();
        if let Err(at) = lengths.binary_search_by(|l| text.len().cmp(l)) {
            lengths.insert(at, text.len());
        }
        self.tokens.insert(text.into(), special);
    }

    /// The longest token that `text` begins with.
    fn starting(&self, text: &str, control: bool) -> Option<(usize, Special)> {
        let lengths = self.lengths.get(text.as_bytes().first()?)?;
        lengths.iter().find_map(|&length| {
            let special = self.tokens.get(text.get(..length)?)?;
            (control || !special.control).then_some((length, *special))
        })
    }

    /// Cuts text at user-defined tokens and, where `control`, at control tokens.
    pub(crate) fn cut<'t>(&self, text: &'t str, control: bool, piece: &mut dyn FnMut(Piece<'t>)) {
        let text_piece = |text: &'t str| {
            let guarded = control && text.contains(GUARD);
            let text = if guarded { text.replace(GUARD, "").into() } else { Cow::Borrowed(text) };
            (!text.is_empty()).then_some(Piece::Text(text))
        };
        let (mut done, mut at) = (0, 0);
        while let Some(next) = text.get(at..).filter(|t| !t.is_empty()) {
            if let Some((length, special)) = self.starting(next, control) {
                let before = &text[done..at];
                let before = if special.lstrip { before.trim_end() } else { before };
                text_piece(before).into_iter().for_each(&mut *piece);
                piece(Piece::Token(special.id));
                at += length;
                if special.rstrip {
                    at = text.len() - text[at..].trim_start().len();
                }
                done = at;
            } else {
                at += next.chars().next().map_or(1, char::len_utf8);
            }
        }
        text_piece(&text[done..]).into_iter().for_each(&mut *piece);
    }

    /// Breaks every control token in user text, so that `cut` does not find it. A control token of
    /// a single character is dropped, as are the user's own guards.
    pub(crate) fn guard<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let is_control = |t: &str| self.starting(t, true).filter(|(_, s)| s.control);
        let clean = |(at, _): (usize, char)| is_control(&text[at..]).is_none();
        if !text.contains(GUARD) && text.char_indices().all(clean) {
            return Cow::Borrowed(text);
        }
        let mut guarded = String::with_capacity(text.len() + 8);
        for (at, c) in text.char_indices().filter(|(_, c)| *c != GUARD) {
            match is_control(&text[at..]) {
                Some((length, _)) if length == c.len_utf8() => {}
                Some(_) => guarded.extend([c, GUARD]),
                None => guarded.push(c),
            }
        }
        if guarded.contains(GUARD) || is_clean(self, &guarded) {
            return Cow::Owned(guarded);
        }
        // Dropping a character joined two halves: guard what has become of them.
        Cow::Owned(self.guard(&guarded).into_owned())
    }
}

fn is_clean(specials: &Specials, text: &str) -> bool {
    let control = |at: usize| specials.starting(&text[at..], true).filter(|(_, s)| s.control);
    text.char_indices().all(|(at, _)| control(at).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials() -> Specials {
        let mut specials = Specials::default();
        specials.insert("<|end|>", Special { id: 1, control: true, ..Special::default() });
        specials.insert("<|end|>x", Special { id: 2, control: true, ..Special::default() });
        specials.insert("<think>", Special { id: 3, ..Special::default() });
        specials
    }

    fn check(text: &str, control: bool, expect: &[Piece<'_>]) {
        let mut pieces = Vec::new();
        specials().cut(text, control, &mut |p| pieces.push(p));
        assert_eq!(pieces, expect, "{text:?}");
    }

    fn text(t: &str) -> Piece<'_> {
        Piece::Text(Cow::Borrowed(t))
    }

    #[test]
    fn control_tokens_are_found_only_where_asked() {
        check("a<|end|>b", true, &[text("a"), Piece::Token(1), text("b")]);
        check("a<|end|>b", false, &[text("a<|end|>b")]);
        check("<|end|>xé", true, &[Piece::Token(2), text("é")]);
        check("é<think><|end|", false, &[text("é"), Piece::Token(3), text("<|end|")]);
        check("", true, &[]);
    }

    #[test]
    fn blanks_beside_a_token_go_where_it_says() {
        let mut specials = Specials::default();
        let strips = Special { id: 7, lstrip: true, rstrip: true, ..Special::default() };
        specials.insert("<m>", strips);
        let mut pieces = Vec::new();
        specials.cut(" a \n<m>\u{a0} <m> b", false, &mut |p| pieces.push(p));
        assert_eq!(pieces, [text(" a"), Piece::Token(7), Piece::Token(7), text("b")]);
    }

    #[test]
    fn guarded_text_has_no_control_token_and_keeps_its_letters() {
        let specials = specials();
        for forged in ["<|end|>", "a<|end|>x", "<|en<|end|>d|>", "<\u{FDD0}|end|>", "<think>"] {
            let guarded = specials.guard(forged);
            let mut letters = String::new();
            specials.cut(&guarded, true, &mut |p| match p {
                Piece::Text(t) => letters.push_str(&t),
                Piece::Token(id) => {
                    assert_eq!(id, 3, "only the user-defined token");
                    letters.push_str("<think>");
                }
            });
            assert_eq!(letters, forged.replace(GUARD, ""));
        }
    }
}
