//! NVIDIA GPUs: our own kernels, launched by NVIDIA's driver. No kernel has run on a GPU yet: tests run
//! them on an emulated device (`tests/emulators`).
//!
//! `kernels/*.cu` are the sources, `ptx` what compiler and assemblers made of them (committed, so that a
//! build needs no toolkit).
//!
//! Reading order: `images` (which of that a device is given), `launch` (one function for each kernel: its
//! grid and its parameters' bytes), `driver/` (the driver, through `cudarc`), `probe` (which devices there
//! are), `program` (where a model lies in memory, and the launches of a step), `fit` (limits and memory, with
//! reasons), `quants` and `weights` (to the device), `inputs` and `draws` (a batch as kernels read it), `rank` (a device
//! of a model), `step` (the `Backend`), `nvml` (how devices are), `platform`.
//!
//! # Invariants
//! - A launch is plain data, made without a device.
//! - Blocks, threads and parameters of a kernel are known in `launch` alone.

mod draws;
mod driver;
mod fit;
mod images;
mod inputs;
pub mod launch;
mod nvml;
mod platform;
mod probe;
mod program;
mod ptx;
mod quants;
mod rank;
pub mod selftest;
mod step;
mod weights;

pub use images::{Image, Refused, images};
pub use launch::{Launch, Type};
pub use platform::CudaPlatform;
pub use ptx::ptx;
