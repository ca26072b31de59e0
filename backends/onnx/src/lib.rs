//! CPUs through ONNX Runtime: one session per model whose nodes are operators of `gimbal-cpu`.
//!
//! Reading order: `probe` (the CPU), `fit` (limits and memory, with reasons), `platform`, `step` (the
//! `Backend`), `session` (ONNX Runtime; `elf`, for which processor a library is), `proto` (fused nodes → ONNX bytes), `process`.
//!
//! # Invariants
//! - ONNX Runtime never sees a weight, so it cannot prepack (copy) one; arithmetic, weights, KV and
//!   threads are `gimbal-cpu`'s.

mod elf;
mod fit;
mod platform;
mod probe;
pub mod process;
mod proto;
mod session;
mod step;

pub use gimbal_cpu::KernelChoice;
pub use platform::{Locate, MemoryNow, OnnxPlatform, OnnxSettings};
