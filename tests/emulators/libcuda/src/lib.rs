//! An emulated CUDA device, for tests on machines without one: it runs the very PTX that the product
//! ships. What it shows is that kernels address memory, wait for each other and compute as written;
//! it shows nothing about speed, and nothing that runs here may be called verified on a GPU.
//!
//! `ptx` reads the text of a module and assembles kernels, `exec` runs them: a warp at a time, 32 lanes
//! in one go. What is not known is refused by name when a module is loaded. `driver` puts the functions
//! of NVIDIA's driver library around them: built as `libcuda.so.1`, programs load it unmodified.
//!
//! # Invariants
//! - Nothing of the product depends on this crate, and neither image nor file for release has it.
//! - Memory that nobody wrote is poisoned; an access outside of an allocation, a read of what was not
//!   written, a race in shared memory and a barrier that not all threads reach end the launch with the
//!   kernel, the line and the lane.

mod driver;
pub mod exec;
mod kernel;
pub mod ptx;

pub use exec::{Dim, Fault, Grid, Memory, launch};
pub use kernel::{Kernel, Param};
pub use ptx::Module;
