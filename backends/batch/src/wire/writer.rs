//! Numbers, lists and texts to bytes, into a buffer that is used again.

use super::error::WireError;
use super::frame::{FRAME_BYTES_MAX, PREFIX_BYTES, TEXT_BYTES_MAX};
use crate::TokenId;

/// One frame being written.
pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    /// Begins a frame of a kind over what `out` held.
    pub(super) fn new(kind: u8, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.extend([0; PREFIX_BYTES]);
        out.push(kind);
        Self(out)
    }

    /// Writes the frame's length before it.
    pub(super) fn finish(self) -> Result<(), WireError> {
        let bytes = self.0.len() - PREFIX_BYTES;
        let length = u32::try_from(bytes).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let Some(length) = length else {
            self.0.clear();
            let (what, max) = ("bytes in a frame", FRAME_BYTES_MAX.into());
            return Err(WireError::TooMany { what, found: bytes as u64, max });
        };
        self.0[..PREFIX_BYTES].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.bytes(&number.to_le_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.bytes(&number.to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    pub(super) fn f32(&mut self, number: f32) {
        self.u32(number.to_bits());
    }

    pub(super) fn bool(&mut self, flag: bool) {
        self.u8(u8::from(flag));
    }

    /// The length of a list. One of more than 2³² things makes a frame that is too long anyway.
    pub(super) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn u32s(&mut self, numbers: &[u32]) {
        self.count(numbers.len());
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    pub(super) fn ids(&mut self, ids: &[TokenId]) {
        self.count(ids.len());
        self.0.extend(ids.iter().flat_map(|id| id.get().to_le_bytes()));
    }

    pub(super) fn f32s(&mut self, numbers: &[f32]) {
        self.count(numbers.len());
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    /// A text, cut to what is read.
    pub(super) fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        self.count(text.len());
        self.bytes(text.as_bytes());
    }
}
