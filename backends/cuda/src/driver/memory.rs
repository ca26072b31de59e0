//! What is allocated: on a device, and of the host's memory for copies.
//!
//! Next: `graph.rs`.

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys::CUresult;
use gimbal_hal::DeviceError;

use super::context::Context;
use super::lost;
use crate::launch::Address;

/// Memory of a device.
#[derive(Debug)]
pub(crate) struct Memory {
    context: Arc<Context>,
    at: Address,
}

impl Memory {
    /// At least one byte.
    pub(super) fn new(context: &Arc<Context>, bytes: usize) -> Result<Self, DeviceError> {
        context.bind()?;
        // SAFETY: a context is current.
        match unsafe { result::malloc_sync(bytes.max(1)) } {
            Ok(at) => Ok(Self { context: context.clone(), at }),
            Err(error) if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let have = result::mem_get_info().map_or(0, |(free, _)| free);
                Err(DeviceError::OutOfMemory { need_bytes: bytes as u64, have_bytes: have as u64 })
            }
            Err(error) => Err(lost("cuMemAlloc", error)),
        }
    }

    /// Where it begins; at a multiple of 256.
    #[must_use]
    pub(crate) const fn address(&self) -> Address {
        self.at
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // A context that is lost has no memory any more.
            // SAFETY: it was allocated in this context, and is freed once. The driver waits for work
            // that may use it.
            let _ = unsafe { result::free_sync(self.at) };
        }
    }
}

/// Values of which every pattern of bits is one.
pub(crate) trait Plain: Copy {}

impl Plain for u8 {}
impl Plain for u32 {}
impl Plain for f32 {}

/// Memory of the host that a device copies from and to while the host goes on.
#[derive(Debug)]
pub(crate) struct Pinned<T> {
    context: Arc<Context>,
    at: *mut T,
    count: usize,
}

// SAFETY: the memory is the process's; nothing about it belongs to a thread, and plain values neither.
unsafe impl<T: Plain> Send for Pinned<T> {}

impl<T: Plain> Pinned<T> {
    /// So many zeros.
    pub(super) fn new(context: &Arc<Context>, count: usize) -> Result<Self, DeviceError> {
        context.bind()?;
        let room = count.max(1) * size_of::<T>();
        // SAFETY: a context is current; no flag is set.
        let at = unsafe { result::malloc_host(room, 0) };
        let at = at.map_err(|error| match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let why = format!("the host locks no {room} bytes for copies");
                DeviceError::Lost { why }
            }
            _ => lost("cuMemHostAlloc", error),
        })?;
        // SAFETY: `room` bytes were allocated and are ours.
        unsafe { at.cast::<u8>().write_bytes(0, room) };
        // It begins at a page, so at a multiple of what any plain value wants.
        Ok(Self { context: context.clone(), at: at.cast::<T>(), count })
    }
}

impl<T: Plain> Deref for Pinned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many values were allocated, aligned and written, and every pattern of bits is one;
        // whoever queues a copy that writes here promised to wait for it before they are read.
        unsafe { slice::from_raw_parts(self.at, self.count) }
    }
}

impl<T: Plain> DerefMut for Pinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and nobody else has them.
        unsafe { slice::from_raw_parts_mut(self.at, self.count) }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: it was allocated so, and is freed once; the driver waits for copies of it.
            let _ = unsafe { result::free_host(self.at.cast::<c_void>()) };
        }
    }
}
