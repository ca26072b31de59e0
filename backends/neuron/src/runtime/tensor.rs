//! Memory of a core or of the host, and parts of it.
//!
//! Next: `model.rs`.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;

use neuron_sys::{self as sys, Placement, Status};

use super::error::{RuntimeError, check};
use super::library::{Runtime, given, spelled};

/// Memory that models read and write. Freed when nobody uses it any more.
#[derive(Debug)]
pub struct Tensor {
    handle: NonNull<sys::Tensor>,
    name: String,
    bytes: usize,
    core: Option<u32>,
    /// What it is a part of: kept longer, though libnrt shares the memory.
    _whole: Option<Rc<Self>>,
    runtime: Arc<Runtime>,
}

impl Tensor {
    /// Room for so many bytes on a core, or on the host. What is in it nobody knows before it is written.
    ///
    /// # Errors
    /// There is no such core, or not as much memory.
    pub fn new(
        runtime: &Arc<Runtime>,
        core: Option<u32>,
        bytes: usize,
        name: &str,
    ) -> Result<Rc<Self>, RuntimeError> {
        let call = "nrt_tensor_allocate";
        let about = || format!("tensor {name:?} of {bytes} bytes on {}", place(core));
        let spelled = spelled(call, name)?;
        let (placement, at) = match core.map(i32::try_from) {
            None => (Placement::HOST, -1),
            Some(Ok(at)) => (Placement::DEVICE, at),
            Some(Err(_)) => {
                let status = Status::INVALID;
                return Err(RuntimeError::Call { call, about: about(), status });
            }
        };
        let mut handle = ptr::null_mut();
        let function = runtime.functions().nrt_tensor_allocate;
        // SAFETY: the text ends with a zero and lives during the call; the place is this function's.
        let status = unsafe { function(placement, at, bytes, spelled.as_ptr(), &raw mut handle) };
        check(call, status, about)?;
        let handle = given(call, handle, about)?;
        let name = name.to_owned();
        let runtime = runtime.clone();
        Ok(Rc::new(Self { handle, name, bytes, core, _whole: None, runtime }))
    }

    /// A part of it, which shares its memory.
    ///
    /// # Errors
    /// It is beyond the whole.
    pub fn slice(self: &Rc<Self>, offset: usize, bytes: usize) -> Result<Rc<Self>, RuntimeError> {
        let call = "nrt_tensor_allocate_slice";
        let about = || format!("{bytes} bytes from {offset} on of {self}");
        let mut handle = ptr::null_mut();
        let function = self.runtime.functions().nrt_tensor_allocate_slice;
        let whole = self.handle.as_ptr();
        // SAFETY: the handle lives; a part needs no name; the place is this function's.
        let status = unsafe { function(whole, offset, bytes, ptr::null(), &raw mut handle) };
        check(call, status, about)?;
        let handle = given(call, handle, about)?;
        Ok(Rc::new(Self {
            handle,
            name: format!("{}[{offset}..]", self.name),
            bytes,
            core: self.core,
            _whole: Some(self.clone()),
            runtime: self.runtime.clone(),
        }))
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its core; none is the host.
    #[must_use]
    pub const fn core(&self) -> Option<u32> {
        self.core
    }

    /// Writes bytes from `offset` on.
    ///
    /// # Errors
    /// They go beyond it, or the transfer failed.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), RuntimeError> {
        let function = self.runtime.functions().nrt_tensor_write;
        let (handle, from) = (self.handle.as_ptr(), bytes.as_ptr().cast::<c_void>());
        // SAFETY: the handle lives; so many bytes may be read during the call.
        let status = unsafe { function(handle, from, offset, bytes.len()) };
        check("nrt_tensor_write", status, || self.about(offset, bytes.len()))
    }

    /// Reads bytes from `offset` on.
    ///
    /// # Errors
    /// They go beyond it, or the transfer failed.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), RuntimeError> {
        let function = self.runtime.functions().nrt_tensor_read;
        let (handle, to) = (self.handle.as_ptr(), bytes.as_mut_ptr().cast::<c_void>());
        // SAFETY: the handle lives; so many bytes may be written during the call.
        let status = unsafe { function(handle, to, offset, bytes.len()) };
        check("nrt_tensor_read", status, || self.about(offset, bytes.len()))
    }

    /// Copies from another tensor, of the same core if both are of devices.
    ///
    /// # Errors
    /// They are of different cores, or the range goes beyond one.
    pub fn copy_from(
        &self,
        offset: usize,
        source: &Self,
        source_offset: usize,
        bytes: usize,
    ) -> Result<(), RuntimeError> {
        let function = self.runtime.functions().nrt_tensor_copy;
        let (from, to) = (source.handle.as_ptr(), self.handle.as_ptr());
        // SAFETY: both handles live.
        let status = unsafe { function(from, source_offset, to, offset, bytes) };
        let about = || format!("{source} to {}", self.about(offset, bytes));
        check("nrt_tensor_copy", status, about)
    }

    /// The handle, for calls only.
    pub(super) const fn handle(&self) -> NonNull<sys::Tensor> {
        self.handle
    }

    fn about(&self, offset: usize, bytes: usize) -> String {
        format!("{bytes} bytes from {offset} on of {self}")
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        let mut handle = self.handle.as_ptr();
        let function = self.runtime.functions().nrt_tensor_free;
        // SAFETY: the handle lives, and no set has it: sets keep their tensors.
        unsafe { function(&raw mut handle) };
    }
}

impl std::fmt::Display for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tensor {:?} ({} bytes on {})", self.name, self.bytes, place(self.core))
    }
}

fn place(core: Option<u32>) -> String {
    core.map_or_else(|| "the host".to_owned(), |core| format!("core {core}"))
}
