//! A device's context and its stream.
//!
//! Next: `device.rs`.

use cudarc::driver::result::{self, stream::StreamKind};
use cudarc::driver::sys;
use gimbal_hal::DeviceError;

use super::lost;

/// The primary context of a device, held once, and our stream in it.
#[derive(Debug)]
pub(super) struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
}

// SAFETY: the driver's functions may be called from any thread in which the context is current, and
// `bind` makes it so.
unsafe impl Send for Context {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Context {}

impl Context {
    pub(super) fn new(ordinal: u16) -> Result<Self, DeviceError> {
        let device = result::device::get(ordinal.into());
        let device = device.map_err(|error| lost("cuDeviceGet", error))?;
        // SAFETY: the device was found.
        let context = unsafe { result::primary_ctx::retain(device) };
        let context = context.map_err(|error| lost("cuDevicePrimaryCtxRetain", error))?;
        let mut made = Self { device, context, stream: result::stream::null() };
        made.bind()?;
        let stream = result::stream::create(StreamKind::NonBlocking);
        made.stream = stream.map_err(|error| lost("cuStreamCreate", error))?;
        Ok(made)
    }

    /// Makes it this thread's.
    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: the context lives as long as this does.
        let bound = unsafe { result::ctx::set_current(self.context) };
        bound.map_err(|error| lost("cuCtxSetCurrent", error))
    }

    /// Waits for all that was queued.
    pub(super) fn settle(&self) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the stream lives as long as this does.
        let done = unsafe { result::stream::synchronize(self.stream) };
        done.map_err(|error| lost("cuStreamSynchronize", error))
    }

    pub(super) const fn context(&self) -> sys::CUcontext {
        self.context
    }

    pub(super) const fn stream(&self) -> sys::CUstream {
        self.stream
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // Answers are not looked at: a context that is lost refuses everything but to be released.
        if self.settle().is_ok() {
            // SAFETY: it was made here, is destroyed once, and nothing is queued on it.
            let _ = unsafe { result::stream::destroy(self.stream) };
        }
        // SAFETY: it was retained once, and what used it is gone: all of that holds this.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}
