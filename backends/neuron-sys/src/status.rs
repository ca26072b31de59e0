//! What a call answers, and what a caller can do about it.
//!
//! Next: `types.rs`.

use std::fmt;

/// `NRT_STATUS`: an open integer, since newer runtimes answer what older headers do not have.
///
/// **Source**: `nrt_status.h` of runtime 2.34; [`Status::KNOWN`] has its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[must_use]
pub struct Status(pub i32);

/// What a caller can do about a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing failed.
    Success,
    /// The same call may succeed later.
    Retryable,
    /// What this call was given is wrong; other calls are not concerned.
    Request,
    /// Outputs are written, and some of them are not numbers.
    Numerical,
    /// The core, or what runs on it, is lost until the process has ended.
    Poisoned,
    /// There is not enough memory, or there are not enough cores.
    Capacity,
    /// The NEFF, the runtime, the driver and the machine do not go together.
    Deployment,
    /// Calls came in the wrong order, or with a handle of something else: a bug of the caller.
    Misuse,
    /// Not known what to do.
    Unknown,
}

macro_rules! statuses {
    ($($constant:ident = $value:literal, $name:literal, $class:ident, $text:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!("`", $name, "`: ", $text, ".")]
                pub const $constant: Self = Self($value);
            )*

            /// Every status that has a name, with it.
            pub const KNOWN: &[(Self, &'static str)] = &[$((Self($value), $name),)*];

            /// Its name in C.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($name),)*
                    _ => None,
                }
            }

            /// What it means, in a few words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self.0 {
                    $($value => $text,)*
                    _ => "not known",
                }
            }

            /// What a caller can do about it.
            #[must_use]
            pub const fn class(self) -> Class {
                match self.0 {
                    $($value => Class::$class,)*
                    _ => Class::Unknown,
                }
            }
        }
    };
}

// Names and numbers: `nrt_status.h`. Classes: ours, from the header's comments and the runtime's guide of
// troubleshooting; none was seen on a chip.
statuses! {
    SUCCESS = 0, "NRT_SUCCESS", Success, "success";
    FAILURE = 1, "NRT_FAILURE", Unknown, "a failure without a kind";
    INVALID = 2, "NRT_INVALID", Deployment,
        "an invalid NEFF or argument; of nrt_init, also that there is no device";
    INVALID_HANDLE = 3, "NRT_INVALID_HANDLE", Misuse, "a handle of nothing";
    RESOURCE = 4, "NRT_RESOURCE", Capacity, "out of memory or of another resource";
    TIMEOUT = 5, "NRT_TIMEOUT", Retryable, "timed out";
    HW_ERROR = 6, "NRT_HW_ERROR", Poisoned, "the hardware failed";
    QUEUE_FULL = 7, "NRT_QUEUE_FULL", Retryable, "the queue of executions is full";
    LOAD_NOT_ENOUGH_NC = 9, "NRT_LOAD_NOT_ENOUGH_NC", Capacity, "not enough cores";
    UNSUPPORTED_NEFF_VERSION = 10, "NRT_UNSUPPORTED_NEFF_VERSION", Deployment,
        "a NEFF of another version";
    FAIL_HOST_MEM_ALLOC = 11, "NRT_FAIL_HOST_MEM_ALLOC", Capacity, "out of the host's memory";
    UNINITIALIZED = 13, "NRT_UNINITIALIZED", Misuse, "called before nrt_init";
    CLOSED = 14, "NRT_CLOSED", Misuse, "called after nrt_close";
    QUEUE_EMPTY = 15, "NRT_QUEUE_EMPTY", Unknown, "the queue is empty";
    EXEC_UNIT_UNRECOVERABLE = 101, "NRT_EXEC_UNIT_UNRECOVERABLE", Poisoned,
        "the core is lost until the process ends";
    EXEC_BAD_INPUT = 1002, "NRT_EXEC_BAD_INPUT", Request, "a tensor is not what the model takes";
    EXEC_COMPLETED_WITH_NUM_ERR = 1003, "NRT_EXEC_COMPLETED_WITH_NUM_ERR", Numerical,
        "completed, and made NaN";
    EXEC_COMPLETED_WITH_ERR = 1004, "NRT_EXEC_COMPLETED_WITH_ERR", Poisoned,
        "completed with an error of logic or parity";
    EXEC_NC_BUSY = 1005, "NRT_EXEC_NC_BUSY", Retryable, "the core is in use";
    EXEC_OOB = 1006, "NRT_EXEC_OOB", Request, "an index out of bounds";
    COLL_PENDING = 1100, "NRT_COLL_PENDING", Retryable, "a collective is not done yet";
    EXEC_HW_ERR_COLLECTIVES = 1200, "NRT_EXEC_HW_ERR_COLLECTIVES", Poisoned,
        "the hardware failed in a collective";
    EXEC_HW_ERR_HBM_UE = 1201, "NRT_EXEC_HW_ERR_HBM_UE", Poisoned,
        "memory had an error that was not corrected";
    EXEC_HW_ERR_NC_UE = 1202, "NRT_EXEC_HW_ERR_NC_UE", Poisoned,
        "the core had an error that was not corrected";
    EXEC_HW_ERR_DMA_ABORT = 1203, "NRT_EXEC_HW_ERR_DMA_ABORT", Poisoned, "a transfer was aborted";
    EXEC_SW_NQ_OVERFLOW = 1204, "NRT_EXEC_SW_NQ_OVERFLOW", Poisoned,
        "more notifications than their queue holds";
    EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205, "NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE", Poisoned,
        "memory had an error that was not corrected and can be repaired by a reset";
    NETWORK_PROXY_FAILURE = 1206, "NRT_NETWORK_PROXY_FAILURE", Poisoned,
        "the network between instances failed";
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({}): {}", self.0, self.text()),
            None => write!(f, "status {} of libnrt, which has no name here", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_it_is_and_what_to_do() {
        let memory = Status(1201);
        assert_eq!(memory, Status::EXEC_HW_ERR_HBM_UE);
        assert_eq!(memory.class(), Class::Poisoned);
        let told = memory.to_string();
        assert!(told.starts_with("NRT_EXEC_HW_ERR_HBM_UE (1201): memory"), "{told}");
    }

    #[test]
    fn what_a_newer_runtime_answers_is_a_status_too() {
        let new = Status(4711);
        assert_eq!((new.name(), new.class()), (None, Class::Unknown));
        assert!(new.to_string().contains("4711"));
        assert_eq!(Status(-1).class(), Class::Unknown);
    }

    #[test]
    fn only_success_succeeds_and_no_number_has_two_names() {
        for (i, (status, name)) in Status::KNOWN.iter().enumerate() {
            assert_eq!(status.name(), Some(*name));
            assert_eq!(status.class() == Class::Success, status.0 == 0, "{name}");
            let again = &Status::KNOWN[i + 1..];
            assert!(again.iter().all(|(other, also)| other != status && also != name), "{name}");
        }
    }
}
