//! How a device in another process failed, and that as bytes.

use super::error::WireError;
use super::reader::Reader;
use super::writer::Writer;

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

pub(super) fn write(fault: &Fault, w: &mut Writer<'_>) {
    match fault {
        Fault::Memory { need_bytes, have_bytes } => {
            w.u8(0);
            w.u64(*need_bytes);
            w.u64(*have_bytes);
        }
        Fault::Lost { why } => {
            w.u8(1);
            w.text(why);
        }
        Fault::Model { why } => {
            w.u8(2);
            w.text(why);
        }
        Fault::Library { library, why } => {
            w.u8(3);
            w.text(library);
            w.text(why);
        }
        Fault::Bug { why } => {
            w.u8(4);
            w.text(why);
        }
    }
}

pub(super) fn read(r: &mut Reader<'_>) -> Result<Fault, WireError> {
    let class = r.u8("a fault")?;
    let mut text = |what| r.text(what).map(str::to_owned);
    Ok(match class {
        0 => Fault::Memory {
            need_bytes: r.u64("bytes asked for")?,
            have_bytes: r.u64("bytes there were")?,
        },
        1 => Fault::Lost { why: text("a reason")? },
        2 => Fault::Model { why: text("a reason")? },
        3 => Fault::Library { library: text("a library")?, why: text("a reason")? },
        4 => Fault::Bug { why: text("a panic's message")? },
        found => return Err(WireError::Tag { what: "fault", found }),
    })
}
