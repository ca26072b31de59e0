//! When work that was queued is done.
//!
//! Next: `../probe.rs`.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cudarc::driver::result;
use cudarc::driver::sys::{CUevent, CUevent_flags, CUevent_wait_flags, CUresult, CUstream};
use gimbal_hal::DeviceError;

use super::context::Context;
use super::lost;

/// How long a wait looks again and again before it sleeps between looks.
const SPIN: Duration = Duration::from_micros(50);
/// How long it sleeps then.
const NAP: Duration = Duration::from_micros(50);

/// A place in a stream.
#[derive(Debug)]
pub(crate) struct Event {
    context: Arc<Context>,
    event: CUevent,
}

// SAFETY: an event belongs to its context, which any thread may make its own.
unsafe impl Send for Event {}

impl Event {
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        context.bind()?;
        let event = result::event::create(CUevent_flags::CU_EVENT_DEFAULT);
        let event = event.map_err(|error| lost("cuEventCreate", error))?;
        Ok(Self { context: context.clone(), event })
    }

    /// After all that was queued on the device's stream.
    ///
    /// # Errors
    /// The device is lost.
    pub(crate) fn record(&self) -> Result<(), DeviceError> {
        // SAFETY: event and stream are of this context and live.
        let recorded = unsafe { result::event::record(self.event, self.context.stream()) };
        recorded.map_err(|error| lost("cuEventRecord", error))
    }

    /// Lets a stream wait for this.
    pub(super) fn hold(&self, stream: CUstream) -> Result<(), DeviceError> {
        let flags = CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: event and stream live; an event of another device may be waited for.
        let held = unsafe { result::stream::wait_event(stream, self.event, flags) };
        held.map_err(|error| lost("cuStreamWaitEvent", error))
    }

    /// True if the device has come here.
    ///
    /// # Errors
    /// What ran before failed.
    pub(crate) fn is_done(&self) -> Result<bool, DeviceError> {
        // SAFETY: the event lives.
        match unsafe { result::event::query(self.event) } {
            Ok(()) => Ok(true),
            Err(error) if error.0 == CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            Err(error) => Err(lost("cuEventQuery", error)),
        }
    }

    /// Waits until the device has come here; false if it has not within the time.
    ///
    /// # Errors
    /// What ran before failed.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<bool, DeviceError> {
        self.context.bind()?;
        let since = Instant::now();
        while !self.is_done()? {
            match since.elapsed() {
                waited if waited >= timeout => return Ok(false),
                waited if waited < SPIN => std::hint::spin_loop(),
                _ => thread::sleep(NAP),
            }
        }
        Ok(true)
    }

    /// Waits until the device has come here, as long as it takes.
    ///
    /// # Errors
    /// What ran before failed.
    pub(crate) fn settle(&self) -> Result<(), DeviceError> {
        // SAFETY: the event lives.
        let done = unsafe { result::event::synchronize(self.event) };
        done.map_err(|error| lost("cuEventSynchronize", error))
    }

    /// Time between two places that the device has passed.
    ///
    /// # Errors
    /// One of them was not passed.
    pub(crate) fn since(&self, earlier: &Self) -> Result<Duration, DeviceError> {
        // SAFETY: both live, in one context.
        let passed = unsafe { result::event::elapsed(earlier.event, self.event) };
        let milliseconds = passed.map_err(|error| lost("cuEventElapsedTime", error))?;
        Ok(Duration::from_secs_f32(milliseconds.max(0.0) / 1000.0))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: it is destroyed once; the driver waits until it was passed.
            let _ = unsafe { result::event::destroy(self.event) };
        }
    }
}
