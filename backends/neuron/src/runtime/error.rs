//! What a call answered, and what can be done about it.
//!
//! Next: `library.rs`.

use neuron_sys::OpenError;
pub use neuron_sys::{Class, Status};

/// Why the runtime did not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// There is no library, or none that can be used.
    #[error("{0}")]
    Library(#[from] OpenError),
    /// The library answered something else than success.
    #[error("{call}: {about}: {status}{}", remedy(.call, *.status))]
    Call {
        /// The function.
        call: &'static str,
        /// What it was about.
        about: String,
        /// What it answered.
        status: Status,
    },
    /// The library told something that cannot be.
    #[error("{call}: {about}: the library told {told}: another libnrt than this was written for")]
    Told {
        /// The function.
        call: &'static str,
        /// What it was about.
        about: String,
        /// What it told.
        told: String,
    },
}

impl RuntimeError {
    /// What a caller can do: by the status, if there is one.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Library(_) | Self::Told { .. } => Class::Deployment,
            Self::Call { status, .. } => status.class(),
        }
    }
}

/// Success, or an error that says what it was about.
pub(super) fn check(
    call: &'static str,
    status: Status,
    about: impl FnOnce() -> String,
) -> Result<(), RuntimeError> {
    match status {
        Status::SUCCESS => Ok(()),
        _ => Err(RuntimeError::Call { call, about: about(), status }),
    }
}

/// What a person can do, where the status alone does not say it.
///
/// **Source** of what `nrt_init` answers and why: public notes on libnrt 2.31.
const fn remedy(call: &str, status: Status) -> &'static str {
    let is_init = matches!(call.as_bytes(), b"nrt_init");
    match status {
        Status::INVALID if is_init => {
            "; no device that the driver gives to this process, a driver of another time than the \
             runtime (aws-neuronx-dkms), or cores that do not lie together (neuron-ls tells)"
        }
        Status::FAILURE if is_init => "; other processes may have its cores (neuron-ls tells)",
        Status::RESOURCE => "; free memory of the device, or use more ranks",
        Status::LOAD_NOT_ENOUGH_NC => {
            "; other processes have cores (neuron-ls tells), or NEURON_RT_VISIBLE_CORES names others"
        }
        Status::UNSUPPORTED_NEFF_VERSION => {
            "; compile with the compiler of the installed Neuron SDK, or update aws-neuronx-runtime-lib"
        }
        _ => match status.class() {
            Class::Poisoned => "; the process must end before the core is used again",
            _ => "",
        },
    }
}
