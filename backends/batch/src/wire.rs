//! Batches, outcomes and limits as bytes: what a device in another process is told and says.
//!
//! A frame is its length (four bytes, not counting themselves), a kind (one byte) and a body; all
//! numbers are little-endian and of fixed width. The device says `Hello` with magic and version,
//! then takes `Submit`s and answers each, oldest first, or says how it failed. Both ends are one
//! binary, so versions differ only by mistake; they are refused, not bridged.
//!
//! Nothing here owns a socket, and models are not sent: whoever opens a device says where they lie.
//!
//! Reading order: this file (frames and kinds), `writer` and `reader` (numbers, lists, texts),
//! `limits`, `batch`, `outcome` (what they are made into).
//!
//! # Invariants
//! - No bytes make reading panic, and what is reserved for a list is bounded by what the limits
//!   allow and by the bytes that are there.
//! - What was read by [`read_submit`] is legal by `Batch::check`.
//! - Writing into a used buffer and reading into a used batch allocate nothing where nothing is
//!   opened, masked, injected or loaded.

mod batch;
mod limits;
mod outcome;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;

use self::reader::Reader;
use self::writer::Writer;
use crate::{Batch, Illegal, Limits, Outcome, StepId};

/// The first bytes of a `Hello`.
const MAGIC: [u8; 4] = *b"GMBL";

/// Raised with every change of what a frame holds.
pub const VERSION: u16 = 1;

/// Bytes of a frame's length.
pub const PREFIX_BYTES: usize = 4;

/// Bytes of a frame after its length, at most. The largest is a step that opens or injects much:
/// 8,192 injected rows of 8,192 numbers.
pub const FRAME_BYTES_MAX: u32 = 1 << 28;

/// Bytes of a text, at most; a longer one is cut when it is written.
const TEXT_BYTES_MAX: usize = 1 << 14;

const HELLO: u8 = 1;
const SUBMIT: u8 = 2;
const ANSWER: u8 = 3;
const FAULT: u8 = 4;

/// What a device in another process says.
#[derive(Debug)]
pub enum Reply<'a> {
    /// It is open.
    Hello(Limits),
    /// A step is done.
    Answer(Answers<'a>),
    /// It failed; nothing comes after this.
    Fault(Fault),
}

/// The outcome of a step, not read yet: the reader knows how many answers it asked for.
#[derive(Debug)]
pub struct Answers<'a> {
    /// The step.
    pub step: StepId,
    body: Reader<'a>,
}

/// How a device in another process failed, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Open again with less.
    Memory {
        /// Bytes asked for.
        need_bytes: u64,
        /// Bytes there were.
        have_bytes: u64,
    },
    /// Open again: the device is gone.
    Lost {
        /// What the driver said.
        why: String,
    },
    /// Do not try again: the model cannot be opened here.
    Model {
        /// What is wrong with it.
        why: String,
    },
    /// Do not try again: a vendor library is missing or does not fit.
    Library {
        /// Its name or path.
        library: String,
        /// What the loader said.
        why: String,
    },
    /// Open again: the process that ran the device met a bug.
    Bug {
        /// The panic's message.
        why: String,
    },
}

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

/// Writes the frame of a device that is open over what `out` held.
///
/// # Errors
/// Never for legal limits: such a frame is short.
pub fn write_hello(limits: &Limits, out: &mut Vec<u8>) -> Result<(), WireError> {
    let mut writer = Writer::new(HELLO, out);
    writer.bytes(&MAGIC);
    writer.u16(VERSION);
    limits::write(limits, &mut writer);
    writer.finish()
}

/// Writes the frame of a step over what `out` held.
///
/// # Errors
/// The frame is too long, or the path of an adapter is not UTF-8.
pub fn write_submit(step: StepId, batch: &Batch, out: &mut Vec<u8>) -> Result<(), WireError> {
    let mut writer = Writer::new(SUBMIT, out);
    writer.u64(step.0);
    batch::write(batch, &mut writer)?;
    writer.finish()
}

/// Writes the frame of a step's outcome over what `out` held.
///
/// # Errors
/// The frame is too long.
pub fn write_answer(step: StepId, outcome: &Outcome, out: &mut Vec<u8>) -> Result<(), WireError> {
    let mut writer = Writer::new(ANSWER, out);
    writer.u64(step.0);
    outcome::write(outcome, &mut writer);
    writer.finish()
}

/// Writes the frame of a failure over what `out` held; long texts are cut.
///
/// # Errors
/// Never: such a frame is short.
pub fn write_fault(fault: &Fault, out: &mut Vec<u8>) -> Result<(), WireError> {
    let mut writer = Writer::new(FAULT, out);
    outcome::write_fault(fault, &mut writer);
    writer.finish()
}

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

/// Reads a step into `batch`, from a frame without its length. A batch that could not be read is
/// empty.
///
/// # Errors
/// The bytes are no step, or one that breaks a rule of `Batch::check`.
pub fn read_submit(frame: &[u8], limits: &Limits, batch: &mut Batch) -> Result<StepId, WireError> {
    batch.clear();
    let step = read_batch(frame, limits, batch);
    if step.is_err() {
        batch.clear();
    }
    step
}

fn read_batch(frame: &[u8], limits: &Limits, batch: &mut Batch) -> Result<StepId, WireError> {
    let mut reader = Reader::new(frame);
    match reader.u8("a kind of message")? {
        SUBMIT => {}
        found => return Err(WireError::Tag { what: "kind of message to a device", found }),
    }
    let step = StepId(reader.u64("a step")?);
    batch::read(&mut reader, limits, batch)?;
    reader.finish()?;
    batch.check(limits).map_err(WireError::Illegal)?;
    Ok(step)
}

/// Reads what a device says, from a frame without its length.
///
/// # Errors
/// The bytes are no such message.
pub fn read_reply(frame: &[u8]) -> Result<Reply<'_>, WireError> {
    let mut reader = Reader::new(frame);
    match reader.u8("a kind of message")? {
        HELLO => {
            let found = reader.array("the magic")?;
            if found != MAGIC {
                return Err(WireError::Foreign { found });
            }
            let found = reader.u16("the version")?;
            if found != VERSION {
                return Err(WireError::Version { found });
            }
            let limits = limits::read(&mut reader)?;
            reader.finish()?;
            limits.check().map_err(WireError::Illegal)?;
            Ok(Reply::Hello(limits))
        }
        ANSWER => {
            let step = StepId(reader.u64("a step")?);
            Ok(Reply::Answer(Answers { step, body: reader }))
        }
        FAULT => {
            let fault = outcome::read_fault(&mut reader)?;
            reader.finish()?;
            Ok(Reply::Fault(fault))
        }
        found => Err(WireError::Tag { what: "kind of message from a device", found }),
    }
}

impl Answers<'_> {
    /// Reads the answers to a step that wanted `outputs` results.
    ///
    /// # Errors
    /// The bytes are no outcome, or not one of so many answers.
    pub fn outcome(mut self, outputs: usize) -> Result<Outcome, WireError> {
        let outcome = outcome::read(&mut self.body, outputs)?;
        self.body.finish()?;
        Ok(outcome)
    }
}
