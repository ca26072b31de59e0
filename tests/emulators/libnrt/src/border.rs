//! What C hands over: places for results, texts, memory of the host. Every pointer of a caller is followed
//! here and nowhere else.
//!
//! Handles are numbers that are looked up, never addresses that are followed. Next: `refusal.rs`.

use std::ffi::{CStr, c_char};
use std::ptr;

use neuron_sys::{BatchOperation, Status};

use crate::refusal::{Answer, refuse};

/// Where a caller wants a result.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T: Copy> Out<T> {
    /// Is null, which no function takes.
    pub(crate) fn check(&self) -> Answer {
        match self.0.is_null() {
            true => refuse(Status::INVALID, "the place for the result is null"),
            false => Ok(()),
        }
    }

    /// Writes the result.
    pub(crate) fn put(&self, value: T) -> Answer {
        self.check()?;
        // SAFETY: only C makes these; its caller promises, as to AWS's runtime, that what is not null
        // (checked) is aligned room for a result.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// Reads what is there.
    pub(crate) fn take(&self) -> Answer<T> {
        self.check()?;
        // SAFETY: as in `put`, of a place that has a value.
        Ok(unsafe { self.0.read() })
    }

    /// Writes the first bytes of a result, as many as the caller has room for.
    pub(crate) fn put_first(&self, value: T, bytes: usize) -> Answer {
        self.check()?;
        let from = (&raw const value).cast::<u8>();
        let count = bytes.min(size_of::<T>());
        // SAFETY: the value has `count` bytes at least; the caller promises room for as many as it said,
        // elsewhere than here.
        unsafe { ptr::copy_nonoverlapping(from, self.0.cast::<u8>(), count) };
        Ok(())
    }
}

/// A text that ends with a zero.
#[repr(transparent)]
pub(crate) struct Text(*const c_char);

impl Text {
    /// The text.
    pub(crate) fn read(&self) -> Answer<String> {
        match self.read_if_any()? {
            Some(text) => Ok(text),
            None => refuse(Status::INVALID, "a name is null"),
        }
    }

    /// The text, unless it is null.
    pub(crate) fn read_if_any(&self) -> Answer<Option<String>> {
        if self.0.is_null() {
            return Ok(None);
        }
        // SAFETY: only C makes these; its caller promises a zero at the end of what is not null (checked).
        let text = unsafe { CStr::from_ptr(self.0) };
        match text.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => refuse(Status::INVALID, "a name is not UTF-8"),
        }
    }
}

/// Bytes of the host that a call reads.
#[repr(transparent)]
pub(crate) struct HostBytes(*const u8);

impl HostBytes {
    /// As many of them.
    pub(crate) fn read(&self, bytes: usize) -> Answer<&[u8]> {
        if self.0.is_null() {
            return refuse(Status::INVALID, "the host's memory is null");
        }
        // SAFETY: only C makes these; its caller promises so many bytes at what is not null (checked), which
        // nobody writes during the call.
        Ok(unsafe { std::slice::from_raw_parts(self.0, bytes) })
    }
}

/// Bytes of the host that a call writes.
#[repr(transparent)]
pub(crate) struct HostRoom(*mut u8);

impl HostRoom {
    /// Writes these there.
    pub(crate) fn write(&self, bytes: &[u8]) -> Answer {
        if self.0.is_null() {
            return refuse(Status::INVALID, "the host's memory is null");
        }
        // SAFETY: the caller promises room for as many bytes as it asked for at what is not null (checked);
        // the emulator's own memory is not there.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len()) };
        Ok(())
    }
}

/// A part of a tensor, with the host's side of it.
pub(crate) struct Part {
    /// Where it begins in the tensor.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
    address: *mut u8,
}

impl Part {
    /// The host's bytes, to be read.
    pub(crate) fn source(&self) -> HostBytes {
        HostBytes(self.address)
    }

    /// The host's bytes, to be written.
    pub(crate) fn target(&self) -> HostRoom {
        HostRoom(self.address)
    }
}

/// An array of a caller, of plain structures.
#[repr(transparent)]
pub(crate) struct Array<T>(*const T);

impl<T: Copy> Array<T> {
    /// As many elements.
    pub(crate) fn read(&self, count: u64) -> Answer<Vec<T>> {
        let Ok(count) = usize::try_from(count) else {
            return refuse(Status::INVALID, "more elements than memory has bytes");
        };
        if self.0.is_null() || count == 0 {
            return refuse(Status::INVALID, "an array is null or empty");
        }
        // SAFETY: only C makes these; its caller promises so many elements at what is not null (checked).
        Ok(unsafe { std::slice::from_raw_parts(self.0, count) }.to_vec())
    }
}

/// The parts of one tensor of a batch.
pub(crate) fn parts(ops: *const BatchOperation, count: u32) -> Answer<Vec<Part>> {
    let ops = Array(ops).read(u64::from(count))?;
    let part = |op: BatchOperation| Part {
        offset: op.offset,
        size: op.size,
        address: op.buffer.cast::<u8>(),
    };
    Ok(ops.into_iter().map(part).collect())
}
