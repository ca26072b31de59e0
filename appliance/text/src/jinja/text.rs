//! Strings of a template, as Python has them: sequences of characters. Each character knows whether
//! a client sent it.
//!
//! The mark travels with its character through everything a template does (slices, `replace`,
//! `upper`, `tojson` …), so what a client wrote can never become part of a control token, however
//! a template cuts it and joins it again. Comparing and searching do not see marks. Next: `value.rs`.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The mark of a character that a client sent.
const CLIENT: u32 = 1 << 31;

/// A character and its mark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter(u32);

impl Letter {
    /// A character that the template wrote.
    pub(crate) const fn own(letter: char) -> Self {
        Self(letter as u32)
    }

    /// A character that a client sent.
    pub(crate) const fn client(letter: char) -> Self {
        Self(letter as u32 | CLIENT)
    }

    pub(crate) fn char(self) -> char {
        char::from_u32(self.0 & !CLIENT).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    pub(crate) fn is_client(self) -> bool {
        self.0 & CLIENT != 0
    }

    /// Another character with the same mark.
    pub(crate) fn with(self, letter: char) -> Self {
        Self(letter as u32 | (self.0 & CLIENT))
    }
}

impl PartialEq for Letter {
    fn eq(&self, other: &Self) -> bool {
        (self.0 ^ other.0) & !CLIENT == 0
    }
}

impl Eq for Letter {}

impl Hash for Letter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.0 & !CLIENT);
    }
}

impl PartialOrd for Letter {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Letter {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0 & !CLIENT).cmp(&(other.0 & !CLIENT))
    }
}

/// A string. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Text(Arc<[Letter]>);

impl Text {
    /// A string that the template wrote.
    pub(crate) fn own(text: &str) -> Self {
        text.chars().map(Letter::own).collect()
    }

    /// A string that a client sent.
    pub(crate) fn client(text: &str) -> Self {
        text.chars().map(Letter::client).collect()
    }

    pub(crate) fn letters(&self) -> &[Letter] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn chars(&self) -> impl DoubleEndedIterator<Item = char> + '_ {
        self.0.iter().map(|letter| letter.char())
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromIterator<Letter> for Text {
    fn from_iter<I: IntoIterator<Item = Letter>>(letters: I) -> Self {
        Self(letters.into_iter().collect())
    }
}

impl From<Vec<Letter>> for Text {
    fn from(letters: Vec<Letter>) -> Self {
        Self(letters.into())
    }
}

impl From<&[Letter]> for Text {
    fn from(letters: &[Letter]) -> Self {
        Self(letters.into())
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.chars().try_for_each(|letter| std::fmt::Write::write_char(f, letter))
    }
}

/// Adds what the template itself wrote.
pub(crate) fn push(letters: &mut Vec<Letter>, own: &str) {
    letters.extend(own.chars().map(Letter::own));
}

/// Blanks as Python's `str.isspace` knows them.
pub(crate) fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

/// Ends of lines as Python's `str.splitlines` knows them.
pub(crate) fn is_line_end(letter: char) -> bool {
    matches!(
        letter,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}
