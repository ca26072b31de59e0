//! Values of GGUF metadata. Arrays stay in the mapped file and are read element by element.
//!
//! A vocabulary has a million strings and a hostile file two hundred million bytes; neither is
//! copied before somebody asks, and a file's array costs no memory at all. Next: `gguf.rs`.

use std::ops::Range;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer type.
    Unsigned(u64),
    /// Any signed integer type.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A bool.
    Bool(bool),
    /// A UTF-8 string; invalid bytes were replaced.
    Text(String),
    /// An array; it stays in the file (see `Gguf::array`).
    Array(Array),
}

/// Where an array lies in its file; checked when the file was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// GGUF type of the elements.
    pub(super) kind: u32,
    /// How many there are.
    pub(super) count: usize,
    /// Bytes in the file.
    pub(super) bytes: Range<usize>,
}

/// An array's elements.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    kind: u32,
    left: usize,
    bytes: &'a [u8],
}

impl Array {
    pub(super) fn elements<'a>(&self, file: &'a [u8]) -> Elements<'a> {
        // The range lies in the file it was read from; any other gives no elements.
        let bytes = file.get(self.bytes.clone()).unwrap_or_default();
        Elements { kind: self.kind, left: self.count, bytes }
    }
}

impl<'a> Elements<'a> {
    /// How many are left.
    #[must_use]
    pub fn count_left(&self) -> usize {
        self.left
    }

    /// The bytes of an array of bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<&'a [u8]> {
        matches!(self.kind, 0 | 1).then_some(self.bytes)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (found, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*found)
    }

    fn text(&mut self) -> Option<String> {
        let n = usize::try_from(u64::from_le_bytes(self.take()?)).ok()?;
        let (text, rest) = self.bytes.split_at_checked(n)?;
        self.bytes = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

impl Iterator for Elements<'_> {
    type Item = Value;

    /// Arrays in arrays have no elements here: no key has any.
    fn next(&mut self) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        Some(match self.kind {
            0 => Value::Unsigned(u64::from(u8::from_le_bytes(self.take()?))),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.take()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.take()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.take()?))),
            4 => Value::Unsigned(u64::from(u32::from_le_bytes(self.take()?))),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.take()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.take()?))),
            7 => Value::Bool(u8::from_le_bytes(self.take()?) != 0),
            8 => Value::Text(self.text()?),
            10 => Value::Unsigned(u64::from_le_bytes(self.take()?)),
            11 => Value::Signed(i64::from_le_bytes(self.take()?)),
            12 => Value::Float(f64::from_le_bytes(self.take()?)),
            _ => return None,
        })
    }
}

/// Bytes of a value of the type, where all have as many.
pub(super) fn fixed_bytes(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Fewest bytes a value of the type takes, to bound array lengths.
pub(super) fn least_bytes(kind: u32) -> usize {
    match (fixed_bytes(kind), kind) {
        (Some(bytes), _) => bytes,
        (None, 8) => 8,
        (None, 9) => 12,
        (None, _) => 1,
    }
}
