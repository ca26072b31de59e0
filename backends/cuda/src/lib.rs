//! NVIDIA GPUs: our own kernels and how they are launched. There is no platform yet: nothing opens a
//! device, and no kernel has run on one; tests run them on an emulated device (`tests/emulators`).
//!
//! `kernels/*.cu` are the sources, `ptx` what compiler and assemblers made of them (committed, so that a
//! build needs no toolkit), `images` which of it a device is given, `launch` one function for each kernel:
//! its grid and its parameters' bytes.
//!
//! # Invariants
//! - A launch is plain data, made without a device.
//! - Blocks, threads and parameters of a kernel are known in `launch` alone.

mod images;
pub mod launch;
mod ptx;

pub use images::{Image, Refused, images};
pub use launch::{Launch, Type};
pub use ptx::ptx;
