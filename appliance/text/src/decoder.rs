//! Bytes of tokens to text, piece by piece: never half a character.
//!
//! Which tokens are shown is the caller's choice. Next: `stop.rs`.

/// Holds back the bytes of an unfinished character, at most three.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Takes the bytes of the next token and returns the text that has become complete. What can
    /// no longer become UTF-8 turns into U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut done = 0;
        loop {
            let rest = &self.pending[done..];
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    done = self.pending.len();
                    break;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&rest[..valid]));
                    done += valid;
                    let Some(invalid) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    done += invalid;
                }
            }
        }
        self.pending.drain(..done);
        text
    }

    /// True while bytes of an unfinished character are held back.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What is left at the end: nothing, or one U+FFFD for a character that never came.
    #[must_use]
    pub fn finish(self) -> String {
        if self.pending.is_empty() { String::new() } else { "\u{FFFD}".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(bytes: &[u8], cuts: &[usize]) -> String {
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let (mut decoder, mut text, mut from) = (Decoder::default(), String::new(), 0);
        for to in cuts {
            text.push_str(&decoder.push(&bytes[from..to]));
            from = to;
        }
        text + &decoder.finish()
    }

    #[test]
    fn a_character_is_held_until_whole() {
        let mut decoder = Decoder::default();
        let bytes = "🦀é".as_bytes();
        let texts: Vec<String> = bytes.iter().map(|b| decoder.push(&[*b])).collect();
        assert_eq!(texts, ["", "", "", "🦀", "", "é"]);
        assert_eq!(decoder.push(&[0xE2, 0x82]), "");
        assert!(decoder.is_pending());
        assert_eq!(decoder.finish(), "\u{FFFD}");
    }

    proptest! {
        #[test]
        fn pieces_equal_the_whole(bytes: Vec<u8>, cuts: Vec<usize>) {
            prop_assert_eq!(pieces(&bytes, &cuts), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn pieces_of_text_equal_the_text(text: String, cuts: Vec<usize>) {
            prop_assert_eq!(pieces(text.as_bytes(), &cuts), text);
        }
    }
}
