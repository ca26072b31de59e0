//! What can be wrong with a model, always with the file and the place in it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A model that cannot be used, by what the user does next.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Name another path: nothing usable is there.
    #[error("no model at {}: {}", shown(.path), printable(.why))]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What was found instead, and what is accepted.
        why: String,
    },
    /// Fetch it again: the file is broken.
    #[error("{} is broken: {}", shown(.path), printable(.why))]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, at which byte or key.
        why: String,
    },
    /// Use another model: this one needs something Gimbal does not have.
    #[error("{} is not supported: {}; known: {}", shown(.path), printable(.what), printable(.known))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The architecture, type or key that is not known.
        what: String,
        /// What is known instead.
        known: String,
    },
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// A text of somebody else's file for a terminal: control characters, and those that change the
/// direction of what follows, are written as escapes.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut made = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_hostile(c) {
            true => made.extend(c.escape_default()),
            false => made.push(c),
        }
    }
    Cow::Owned(made)
}

/// **Source**: Unicode, general categories Cc, Zl and Zp; UAX #9, explicit directional formatting.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}')
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_file_steers_a_terminal() {
        let hostile = "a\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}b\u{2028}é";
        let expect = r"a\u{1b}]0;owned\u{7}\r\n\u{9b}31m\u{202e}b\u{2028}é";
        assert_eq!(printable(hostile), expect);
        assert_eq!(printable("blk.0.weight ▁é日本"), "blk.0.weight ▁é日本");
        let (path, why) = (PathBuf::from("m\u{1b}.gguf"), hostile.to_owned());
        let all = [
            ModelError::Missing { path: path.clone(), why: why.clone() },
            ModelError::Broken { path: path.clone(), why: why.clone() },
            ModelError::Unsupported { path, what: why.clone(), known: why },
        ];
        for error in all {
            let told = error.to_string();
            assert!(!told.contains(is_hostile) && told.contains(expect), "{told}");
        }
    }
}
