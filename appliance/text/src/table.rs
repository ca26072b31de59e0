//! The bytes of every token, and which tokens are control tokens.
//!
//! How they are written in a vocabulary is known elsewhere. Next: `tokenizer.rs`.

use crate::TextError;

/// All tokens, by id.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Bytes of all tokens, one after the other; token `i` ends at `ends[i]`.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    control: Vec<bool>,
    /// Bytes of the longest token.
    pub(crate) token_bytes_max: usize,
}

impl Table {
    /// Appends a token, whose bytes `write` appends.
    ///
    /// # Errors
    /// The vocabulary is larger than 4 GiB.
    pub(crate) fn push(
        &mut self,
        control: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), TextError> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = u32::try_from(self.bytes.len());
        self.ends.push(end.map_err(|_| TextError::broken("the vocabulary is above 4 GiB"))?);
        self.control.push(control);
        self.token_bytes_max = self.token_bytes_max.max(self.bytes.len() - start);
        Ok(())
    }

    /// The bytes of a token; empty for unknown ids.
    pub(crate) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|i| self.ends.get(i)).map_or(0, |e| *e as usize);
        self.ends.get(id).map_or(&[], |end| &self.bytes[start..*end as usize])
    }

    pub(crate) fn is_control(&self, id: u32) -> bool {
        self.control.get(id as usize).copied().unwrap_or(false)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}
