//! What a caller cannot foresee of a device. Bugs panic and users get refusals; neither is here.

use std::time::Duration;

use gimbal_batch::StepId;
use gimbal_batch::wire::Fault;

/// A device's failure, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Open again with less: the device has too little memory.
    #[error("out of device memory: {need_bytes} bytes needed, {have_bytes} available")]
    OutOfMemory {
        /// Bytes asked for.
        need_bytes: u64,
        /// Bytes there were.
        have_bytes: u64,
    },
    /// Wait again or give up: the oldest step is not finished.
    #[error("step {} did not finish within {waited:?}", step.0)]
    Timeout {
        /// The step waited for.
        step: StepId,
        /// How long.
        waited: Duration,
    },
    /// Open again: the device and everything on it is gone.
    #[error("device lost: {why}")]
    Lost {
        /// What the driver said.
        why: String,
    },
    /// Do not try again: the model cannot be opened here.
    #[error("cannot open the model: {why}")]
    Model {
        /// What is wrong with it, and where.
        why: String,
    },
    /// Do not try again: a vendor library is missing or does not fit.
    #[error("{library} cannot be used: {why}")]
    Library {
        /// The library's name or path.
        library: String,
        /// What the loader said and what would help.
        why: String,
    },
}

impl From<Fault> for DeviceError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Memory { need_bytes, have_bytes } => {
                Self::OutOfMemory { need_bytes, have_bytes }
            }
            Fault::Lost { why } => Self::Lost { why },
            Fault::Model { why } => Self::Model { why },
            Fault::Library { library, why } => Self::Library { library, why },
            Fault::Bug { why } => Self::Lost { why: format!("a bug in the backend: {why}") },
        }
    }
}

impl From<DeviceError> for Fault {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::OutOfMemory { need_bytes, have_bytes } => {
                Self::Memory { need_bytes, have_bytes }
            }
            DeviceError::Model { why } => Self::Model { why },
            DeviceError::Library { library, why } => Self::Library { library, why },
            // Whoever runs the device waits as long as it takes.
            error @ (DeviceError::Timeout { .. } | DeviceError::Lost { .. }) => {
                let why = match error {
                    DeviceError::Lost { why } => why,
                    other => other.to_string(),
                };
                Self::Lost { why }
            }
        }
    }
}
