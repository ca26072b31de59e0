//! A device that runs generation steps.
//!
//! What a step is stands in `gimbal_batch`. Next: `error.rs`.

use std::time::Duration;

use gimbal_batch::{Batch, Limits, Outcome, StepId};

use crate::DeviceError;

/// One device, or a group of devices that acts as one.
///
/// At most `limits().depth` steps are submitted before the oldest is collected.
pub trait Backend: Send {
    /// What the device can do. Constant for the life of the backend.
    fn limits(&self) -> &Limits;

    /// Queues one step. Never waits for a device: a CPU backend stores the batch and computes it
    /// in `collect`.
    ///
    /// # Errors
    /// The device is lost; the step was not queued.
    ///
    /// # Panics
    /// If the batch breaks a rule of `Batch::check` or more than `depth` steps are queued: bugs of
    /// the caller.
    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError>;

    /// Waits for the oldest queued step.
    ///
    /// # Errors
    /// `DeviceError::Timeout` when it is not finished in time (it stays queued); any other error
    /// means that all queued steps and all KV are gone.
    ///
    /// # Panics
    /// If no step is queued.
    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError>;
}
