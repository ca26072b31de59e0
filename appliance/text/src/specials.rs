//! Tokens that are not made of text: finding them where they may be found.
//!
//! A control token is never found in what a client wrote, whatever a template made of it: each
//! letter of a prompt knows its author. Ordinary text is not tokenized here. Next: `tokenizer.rs`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use crate::random;

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
    Text(&'t str),
    Token(u32),
}

/// Where control tokens may be found in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control<'r> {
    Nowhere,
    Everywhere,
    /// Outside of these ranges of bytes, in ascending order.
    Outside(&'r [Range<usize>]),
}

impl Control<'_> {
    /// Whether a control token may fill a range.
    fn allows(self, range: &Range<usize>) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Everywhere => true,
            Self::Outside(clients) => {
                let next = clients.partition_point(|client| client.end <= range.start);
                clients.get(next).is_none_or(|client| client.start >= range.end)
            }
        }
    }
}

/// What stands before the names of control tokens in vocabularies that look up whole words: a
/// secret of this process, which no text contains.
pub(crate) fn secret() -> &'static str {
    static SECRET: LazyLock<String> = LazyLock::new(|| {
        let bits = [random(), random()];
        let letters = bits.iter().flat_map(|bits| (0..4).map(move |i| bits >> (16 * i) & 0xfffd));
        let letter =
            |bits: u64| u32::try_from(bits).ok().and_then(|c| char::from_u32(0xf_0000 + c));
        letters.filter_map(letter).collect()
    });
    &SECRET
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

    /// The longest token that stands at a place of a text.
    fn starting(&self, text: &str, at: usize, control: Control<'_>) -> Option<(usize, Special)> {
        let text = text.get(at..)?;
        let lengths = self.lengths.get(text.as_bytes().first()?)?;
        lengths.iter().find_map(|&length| {
            let special = self.tokens.get(text.get(..length)?)?;
            let allowed = !special.control || control.allows(&(at..at + length));
            allowed.then_some((length, *special))
        })
    }

    /// Cuts text at user-defined tokens and, where allowed, at control tokens.
    pub(crate) fn cut<'t>(
        &self,
        text: &'t str,
        control: Control<'_>,
        piece: &mut dyn FnMut(Piece<'t>),
    ) {
        let text_piece =
            |text: &'t str| if text.is_empty() { None } else { Some(Piece::Text(text)) };
        let (mut done, mut at) = (0, 0);
        while let Some(next) = text[at..].chars().next() {
            if let Some((length, special)) = self.starting(text, at, control) {
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
                at += next.len_utf8();
            }
        }
        text_piece(&text[done..]).into_iter().for_each(&mut *piece);
    }
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

    fn check(text: &str, control: Control<'_>, expect: &[Piece<'_>]) {
        let mut pieces = Vec::new();
        specials().cut(text, control, &mut |p| pieces.push(p));
        assert_eq!(pieces, expect, "{text:?}");
    }

    fn text(t: &str) -> Piece<'_> {
        Piece::Text(t)
    }

    #[test]
    fn control_tokens_are_found_only_where_asked() {
        check("a<|end|>b", Control::Everywhere, &[text("a"), Piece::Token(1), text("b")]);
        check("a<|end|>b", Control::Nowhere, &[text("a<|end|>b")]);
        check("<|end|>xé", Control::Everywhere, &[Piece::Token(2), text("é")]);
        check("é<think><|end|", Control::Nowhere, &[text("é"), Piece::Token(3), text("<|end|")]);
        check("", Control::Everywhere, &[]);
    }

    #[test]
    fn blanks_beside_a_token_go_where_it_says() {
        let mut specials = Specials::default();
        let strips = Special { id: 7, lstrip: true, rstrip: true, ..Special::default() };
        specials.insert("<m>", strips);
        let mut pieces = Vec::new();
        specials.cut(" a \n<m>\u{a0} <m> b", Control::Nowhere, &mut |p| pieces.push(p));
        assert_eq!(pieces, [text(" a"), Piece::Token(7), Piece::Token(7), text("b")]);
    }

    #[test]
    fn no_part_of_a_control_token_may_be_a_clients() {
        let whole = "a<|end|>x";
        let found = |clients: &[Range<usize>]| {
            let mut ids = Vec::new();
            specials().cut(whole, Control::Outside(clients), &mut |p| {
                if let Piece::Token(id) = p {
                    ids.push(id);
                }
            });
            ids
        };
        assert_eq!(found(&[]), [2]);
        assert_eq!(found(std::slice::from_ref(&(0..1))), [2], "beside it");
        assert_eq!(
            found(std::slice::from_ref(&(8..9))),
            [1],
            "the longer one has the client's letter"
        );
        for inside in [1..2, 4..5, 7..8, 0..9] {
            assert!(found(std::slice::from_ref(&inside)).is_empty(), "{inside:?}");
        }
        assert!(found(&[0..1, 3..4, 8..9]).is_empty());
    }

    #[test]
    fn the_secret_is_long_and_stays() {
        assert_eq!(secret().chars().count(), 8);
        assert_eq!(secret(), secret());
    }
}
