//! Batches, outcomes and limits as bytes: what a device in another process is told and says.
//!
//! A frame is its length (four bytes, not counting themselves), a kind (one byte) and a body; all
//! numbers are little-endian and of fixed width. The device says `Hello` with magic and version,
//! then takes `Submit`s and answers each, oldest first, or says how it failed. Both ends are one
//! binary, so versions differ only by mistake; they are refused, not bridged.
//!
//! Nothing here owns a socket, and models are not sent: whoever opens a device says where they lie.
//!
//! Reading order: this file (kinds of messages), `frame` and `error`, `writer` and `reader` (numbers,
//! lists, texts), `limits`, `batch`, `outcome`, `fault` (what they are made into).
//!
//! # Invariants
//! - No bytes make reading panic, and what is reserved for a list is bounded by what the limits
//!   allow and by the bytes that are there.
//! - What was read by [`read_submit`] is legal by `Batch::check`.
//! - Writing into a used buffer and reading into a used batch allocate nothing where nothing is
//!   opened, masked, injected or loaded.

mod batch;
mod error;
mod fault;
mod frame;
mod limits;
mod outcome;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use self::error::{VERSION, WireError};
pub use self::fault::Fault;
pub use self::frame::{FRAME_BYTES_MAX, PREFIX_BYTES, frame_bytes};
use self::reader::Reader;
use self::writer::Writer;
use crate::{Batch, Limits, Outcome, StepId};

/// The first bytes of a `Hello`.
const MAGIC: [u8; 4] = *b"GMBL";

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
    fault::write(fault, &mut writer);
    writer.finish()
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
            let fault = fault::read(&mut reader)?;
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
