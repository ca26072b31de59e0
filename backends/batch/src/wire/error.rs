//! What can be wrong with bytes that should be a message.

use std::fmt;

use crate::Illegal;

/// Raised with every change of what a frame holds.
pub const VERSION: u16 = 2;

/// Why bytes are no message. Whoever sent them is not to be talked to any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    /// They were not written by this program.
    Foreign {
        /// What stands where the magic should.
        found: [u8; 4],
    },
    /// They were written by another version of it.
    Version {
        /// Its number.
        found: u16,
    },
    /// A tag that means nothing here.
    Tag {
        /// Of what.
        what: &'static str,
        /// The tag.
        found: u8,
    },
    /// The frame ends early.
    Short {
        /// What was being read.
        what: &'static str,
        /// Bytes that it needs.
        need: u64,
        /// Bytes that are left.
        have: u64,
    },
    /// Bytes are left over.
    Long {
        /// How many.
        bytes: u64,
    },
    /// More than there may be.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// How many there may be.
        max: u64,
    },
    /// A text or path is not UTF-8.
    Text {
        /// Which.
        what: &'static str,
    },
    /// The message can be read, but breaks a rule.
    Illegal(Illegal),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { found } => {
                write!(f, "foreign bytes {found:02x?} instead of a greeting")
            }
            Self::Version { found } => write!(f, "version {found} of the wire, not {VERSION}"),
            Self::Tag { what, found } => write!(f, "{found} is no {what}"),
            Self::Short { what, need, have } => {
                write!(f, "cut short: {what} needs {need} bytes, {have} are left")
            }
            Self::Long { bytes } => write!(f, "{bytes} bytes are left over"),
            Self::TooMany { what, found, max } => write!(f, "{found} {what}, at most {max}"),
            Self::Text { what } => write!(f, "{what} is not UTF-8"),
            Self::Illegal(illegal) => write!(f, "{illegal}"),
        }
    }
}

impl std::error::Error for WireError {}
