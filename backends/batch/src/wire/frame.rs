//! How long frames and texts may be.

use super::error::WireError;

/// Bytes of a frame's length.
pub const PREFIX_BYTES: usize = 4;

/// Bytes of a frame after its length, at most. The largest is a step that opens or injects much:
/// 8,192 injected rows of 8,192 numbers.
pub const FRAME_BYTES_MAX: u32 = 1 << 28;

/// Bytes of a text, at most; a longer one is cut when it is written.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 14;

/// Bytes of a frame, from the length before it.
///
/// # Errors
/// The frame is empty or longer than there are.
pub fn frame_bytes(prefix: [u8; PREFIX_BYTES]) -> Result<usize, WireError> {
    match u32::from_le_bytes(prefix) {
        0 => Err(WireError::Short { what: "a frame", need: 1, have: 0 }),
        bytes @ 1..=FRAME_BYTES_MAX => Ok(bytes as usize),
        found => {
            let (what, found, max) = ("bytes in a frame", found.into(), FRAME_BYTES_MAX.into());
            Err(WireError::TooMany { what, found, max })
        }
    }
}
