//! Raw bindings of libnrt, the runtime of AWS Neuron, loaded at run time.
//!
#![doc = include_str!("../README.md")]
//! # Reading order
//! `status` is what a call answers, `types` what it takes, `functions` which there are, `library` finds and
//! loads them.
//!
//! # Invariants
//! - No logic: nothing is allocated, kept, retried or converted here.
//! - No function is called that was not found; a function that not every runtime has is an `Option`.
//! - What the library may answer tomorrow is no undefined behaviour today: every enumeration of C is an
//!   integer here.

mod functions;
mod library;
mod status;
mod types;

pub use functions::Functions;
pub use library::{Library, OpenError, SONAME, VENDOR_PATH, VERSION_MAJOR};
pub use status::{Class, Status};
pub use types::{
    BatchOperation, Dtype, Family, Framework, InstanceInfo, InstanceSize, MemoryStats, Model,
    NAME_BYTES, Placement, Tensor, TensorBatch, TensorInfo, TensorInfoArray, TensorSet, Usage,
    Version,
};
