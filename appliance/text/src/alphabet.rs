//! The characters that byte-level vocabularies are written in, one for each byte.
//!
//! Next: `data.rs`.

/// Which character stands for which byte in byte-level vocabularies.
///
/// **Source**: `bytes_to_unicode` of GPT-2's `encoder.py`: printable Latin-1 bytes stand for
/// themselves, the others for U+0100 onwards, in order.
pub(crate) fn byte_alphabet() -> Vec<(u8, char)> {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let (direct, rest): (Vec<u8>, Vec<u8>) = (0..=255).partition(printable);
    let shifted = rest.into_iter().zip('\u{100}'..);
    direct.into_iter().map(|b| (b, char::from(b))).chain(shifted).collect()
}

/// The alphabet backwards: character to byte.
#[derive(Debug)]
pub(crate) struct Alphabet([Option<u8>; ALPHABET_END]);

/// One past the last character of the alphabet, U+0143.
const ALPHABET_END: usize = 0x144;

impl Alphabet {
    pub(crate) fn new() -> Self {
        let mut bytes = [None; ALPHABET_END];
        for (byte, written) in byte_alphabet() {
            bytes[written as usize] = Some(byte);
        }
        Self(bytes)
    }

    /// Appends the bytes of a token's written form; one that is not written in the alphabet stands
    /// for itself.
    pub(crate) fn decode(&self, written: &str, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        for c in written.chars() {
            let Some(byte) = self.0.get(c as usize).copied().flatten() else {
                bytes.truncate(start);
                bytes.extend_from_slice(written.as_bytes());
                return;
            };
            bytes.push(byte);
        }
    }
}
