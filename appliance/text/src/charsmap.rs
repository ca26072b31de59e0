//! SentencePiece's precompiled normaliser: which stretch of text becomes which other.
//!
//! Blanks are not treated here. Next: `unigram.rs`.
//!
//! The file: the bytes of a trie as a little-endian `u32`, the trie (a double array of `u32`: bits
//! 0–7 the label, bit 8 whether a key ends, bits 10–30 the offset to the children, eight bits more
//! to the left where bit 9 is set; a value has bit 31), then texts that end in a zero byte.
//!
//! **Source**: llama.cpp, `llm_tokenizer_ugm_session::normalize_prefix`.

use crate::TextError;

/// A normaliser; without a file it changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Charsmap {
    trie: Vec<u32>,
    texts: Vec<u8>,
}

impl Charsmap {
    /// # Errors
    /// The file is shorter than it says. What it points to is checked where it is used.
    pub(crate) fn new(file: &[u8]) -> Result<Self, TextError> {
        if file.is_empty() {
            return Ok(Self::default());
        }
        let broken = || TextError::broken("tokenizer.ggml.precompiled_charsmap is cut short");
        let (bytes, rest) = file.split_first_chunk().ok_or_else(broken)?;
        let trie = rest.get(..u32::from_le_bytes(*bytes) as usize).ok_or_else(broken)?;
        let texts = rest[trie.len()..].to_vec();
        let trie = trie.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Ok(Self { trie, texts })
    }

    /// The longest stretch `text` begins with that is replaced: its length and what it becomes. A
    /// node or text outside the file ends the search.
    pub(crate) fn replacement(&self, text: &str) -> Option<(usize, &str)> {
        let offset = |unit: u32| (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let mut node = offset(*self.trie.first()?);
        let mut found = None;
        for (length, byte) in (1..).zip(text.bytes().take_while(|b| *b != 0)) {
            node ^= u32::from(byte);
            let Some(unit) = self.trie.get(node as usize).copied() else { break };
            if unit & (1 << 31 | 0xFF) != u32::from(byte) {
                break;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = self.trie.get(node as usize).map(|unit| unit & !(1 << 31));
                found = value.map(|at| (length, at));
            }
        }
        let (length, at) = found.filter(|(length, _)| text.is_char_boundary(*length))?;
        let becomes = self.texts.get(at as usize..)?.split(|b| *b == 0).next()?;
        Some((length, std::str::from_utf8(becomes).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_files_are_refused_or_change_nothing() {
        for file in [&[1][..], &[8, 0, 0, 0, 1, 1, 1, 1], &[255; 12]] {
            assert!(Charsmap::new(file).is_err(), "{file:?}");
        }
        for file in [&[0; 4][..], &[4, 0, 0, 0, 255, 255, 255, 127], &[8, 0, 0, 0, 0, 0, 0, 0]] {
            let map = Charsmap::new(&[file, &[0; 8]].concat()).expect("long enough");
            assert_eq!(map.replacement("aé"), None, "{file:?}");
        }
        assert_eq!(Charsmap::default().replacement("a"), None);
    }
}
