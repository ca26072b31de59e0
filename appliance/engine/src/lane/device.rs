//! A lane's device: open, being opened again on a thread of its own, or waiting for another try.
//!
//! The lane never waits for it: commands are taken meanwhile. Next: `runner.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use gimbal_hal::{Backend, DeviceError};
use gimbal_scheduler::Micros;
use tracing::warn;

/// Opens the device again after it was lost.
pub type Reopen = Box<dyn FnMut() -> Result<Box<dyn Backend>, DeviceError> + Send>;

/// An opened device and the way to open it again.
pub struct LaneSource {
    /// The device, ready.
    pub backend: Box<dyn Backend>,
    /// Called after a loss, a few times at most, on a thread of its own: the lane goes on to take
    /// commands. The new device may have other limits.
    pub reopen: Reopen,
}

impl std::fmt::Debug for LaneSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneSource").field("limits", self.backend.limits()).finish_non_exhaustive()
    }
}

/// What an opening thread gives back: the way to open, and what came of it.
type Opened = (Reopen, Result<Box<dyn Backend>, DeviceError>);

/// The device.
pub(super) enum Device {
    /// It computes.
    Open(Box<dyn Backend>),
    /// It is being opened.
    Opening(Receiver<Opened>),
    /// The next try begins then.
    Waiting(Micros),
    /// It is not opened any more.
    Closed,
}

impl Device {
    /// Gives up what is there on a thread of its own, and opens it again there. Without a thread the
    /// way to open is lost, and so is the lane.
    pub(super) fn open(&mut self, mut reopen: Reopen) -> Result<(), DeviceError> {
        let old = std::mem::replace(self, Self::Closed);
        let (sender, receiver) = sync_channel(1);
        let open = move || {
            old.close();
            let opened = guarded(&mut reopen);
            // A lane that has ended meanwhile needs no device.
            drop(sender.send((reopen, opened)));
        };
        let thread = std::thread::Builder::new().name("reopen".to_owned()).spawn(open);
        thread.map_err(|e| DeviceError::Lost { why: format!("no thread to open it: {e}") })?;
        *self = Self::Opening(receiver);
        Ok(())
    }

    /// What came of the opening, once it is over.
    pub(super) fn opened(&mut self) -> Option<Opened> {
        let Self::Opening(receiver) = self else { return None };
        match receiver.try_recv() {
            Err(TryRecvError::Empty) => None,
            Ok(opened) => {
                *self = Self::Closed;
                Some(opened)
            }
            Err(TryRecvError::Disconnected) => {
                *self = Self::Closed;
                let gone = || DeviceError::Lost { why: "the opening thread is gone".to_owned() };
                Some((Box::new(move || Err(gone())), Err(gone())))
            }
        }
    }

    /// Gives the device up; a panic in it costs nothing more.
    pub(super) fn close(self) {
        let Self::Open(backend) = self else { return };
        if catch_unwind(AssertUnwindSafe(|| drop(backend))).is_err() {
            warn!("the backend failed while it was closed");
        }
    }
}

/// Calls a backend; a panic in it is a lost device.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let why = format!("a bug in the backend: {}", panic_message(panic.as_ref()));
        Err(DeviceError::Lost { why })
    })
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
