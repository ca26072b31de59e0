//! AWS Inferentia and Trainium: a model's graph as HLO, the form that neuronx-cc compiles. Nothing here
//! has run on such a device: `docs/backends/neuron.md`.
//!
//! Reading order: `lower` (a graph to modules), `hlo` (modules: their instructions, their bytes), `bundle` (a
//! model compiled, as a folder), `compile` (makes one), `neff` (the container of one program), `probe` (which devices there are), `sysfs` (what
//! the kernel tells of them), `runtime` (owners of what libnrt gives), `rank` (a
//! core with its programs and tensors), `step` (the `Backend`), `devices`, `fit`, `platform` (the hal's side),
//! `selftest` (what a person runs on a chip).
//!
//! # Invariants
//! - Every instruction that is made or read has the shape that its operands say; what does not is a bug of
//!   ours where it is made and an error where it is read.
//! - Unsafe code is in `runtime` only: every call of libnrt.
//! - Bytes from outside are errors, never panics, and nothing in them is read past.

#![deny(unsafe_code)]

pub mod bundle;
pub mod compile;
mod devices;
mod fit;
pub mod hlo;
pub mod lower;
pub mod neff;
mod platform;
pub mod probe;
mod rank;
pub mod runtime;
pub mod selftest;
mod step;
pub mod sysfs;

pub use devices::planned;
pub use platform::NeuronPlatform;
pub use step::{NeuronBackend, limits};

/// The platform's name.
pub(crate) const NAME: &str = "neuron";
