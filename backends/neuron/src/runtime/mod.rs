//! The runtime as owners of what it gave: what is here cannot be used after it is gone, and goes in the order that
//! libnrt wants: sets, tensors, models, the runtime.
//!
//! Nothing above this folder sees a pointer. Reading order: `error` (what a call answered, and what to do),
//! `library` (a process's runtime), `tensor`, `model`, `set` (what is executed).
//!
//! # Invariants
//! - A handle is used by the thread that made it; only the runtime itself is shared.
//! - A set keeps its tensors and its model; they keep the runtime.
//! - What the library tells is checked before it is believed: counts, names, sizes.

#![expect(unsafe_code, reason = "the one folder that calls the vendor's library")]

mod error;
mod installed;
mod library;
mod model;
mod set;
mod tensor;

pub use error::{Class, RuntimeError, Status};
pub use installed::Installed;
pub use library::Runtime;
pub use model::{ElementType, Model, TensorFacts};
pub use set::{Executed, TensorSet, execute};
pub use tensor::Tensor;
