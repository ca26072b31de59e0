//! Bytes to numbers, lists and texts; every length is checked before anything is reserved.

use std::sync::Arc;

use super::error::WireError;
use super::frame::TEXT_BYTES_MAX;
use crate::TokenId;

/// What is left of one frame.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(frame: &'a [u8]) -> Self {
        Self(frame)
    }

    /// Nothing may be left.
    pub(super) fn finish(&self) -> Result<(), WireError> {
        match self.0.len() as u64 {
            0 => Ok(()),
            bytes => Err(WireError::Long { bytes }),
        }
    }

    fn bytes(&mut self, count: u64, what: &'static str) -> Result<&'a [u8], WireError> {
        let have = self.0.len() as u64;
        let short = WireError::Short { what, need: count, have };
        let count = usize::try_from(count).map_err(|_| short.clone())?;
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(short)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], WireError> {
        let short = WireError::Short { what, need: N as u64, have: self.0.len() as u64 };
        let (bytes, rest) = self.0.split_first_chunk().ok_or(short)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        self.array(what).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(super) fn f32(&mut self, what: &'static str) -> Result<f32, WireError> {
        self.array(what).map(f32::from_le_bytes)
    }

    pub(super) fn bool(&mut self, what: &'static str) -> Result<bool, WireError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(WireError::Tag { what, found }),
        }
    }

    /// The length of a list of at most `max` things of at least `each` bytes.
    pub(super) fn count(
        &mut self,
        what: &'static str,
        max: u64,
        each: u64,
    ) -> Result<usize, WireError> {
        let found = u64::from(self.u32(what)?);
        if found > max {
            return Err(WireError::TooMany { what, found, max });
        }
        let (need, have) = (found * each, self.0.len() as u64);
        if need > have {
            return Err(WireError::Short { what, need, have });
        }
        usize::try_from(found).map_err(|_| WireError::Short { what, need, have })
    }

    pub(super) fn u32s(&mut self, what: &'static str, max: u64) -> Result<Arc<[u32]>, WireError> {
        Ok(self.words(what, max)?.map(u32::from_le_bytes).collect())
    }

    pub(super) fn ids(
        &mut self,
        what: &'static str,
        max: u64,
    ) -> Result<Arc<[TokenId]>, WireError> {
        Ok(self.words(what, max)?.map(u32::from_le_bytes).map(TokenId::new).collect())
    }

    pub(super) fn f32s(&mut self, what: &'static str, max: u64) -> Result<Vec<f32>, WireError> {
        Ok(self.words(what, max)?.map(f32::from_le_bytes).collect())
    }

    fn words(
        &mut self,
        what: &'static str,
        max: u64,
    ) -> Result<impl Iterator<Item = [u8; 4]> + use<'a>, WireError> {
        let count = self.count(what, max, 4)?;
        let bytes = self.bytes(4 * count as u64, what)?;
        Ok(bytes.as_chunks().0.iter().copied())
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, WireError> {
        let count = self.count(what, TEXT_BYTES_MAX as u64, 1)?;
        let bytes = self.bytes(count as u64, what)?;
        std::str::from_utf8(bytes).map_err(|_| WireError::Text { what })
    }
}
