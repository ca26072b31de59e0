//! CPUs through ONNX Runtime: one session per model whose hot nodes are our own operators.
//!
//! Reading order: `probe` (the CPU), `fit` (limits and memory, with reasons), `lower/` (graph →
//! fused nodes → ONNX bytes), `pack` (weights in the kernels' layout), `memory` (KV and scratch),
//! `pool` (threads), `kernels/` (arithmetic), `ops/` (the fused nodes), `session` (ONNX Runtime),
//! `step` (the `Backend`); `unpack` (what packed weights hold), `measure` (kernels against what the
//! CPU can do).
//!
//! # Invariants
//! - A row's result depends on its tokens and position only: every reduction runs in an order that
//!   is fixed by K and position, never by row count, thread count or neighbours.
//! - Weights are held once: packed at open, the file's pages are not read again except for rows of an
//!   embedding that no head shares in its own type.
//! - ONNX Runtime never sees a weight, so it cannot prepack (copy) one.

mod contention;
mod fit;
mod kernels;
mod lower;
mod measure;
mod memory;
mod ops;
mod pack;
mod packing;
mod platform;
mod pool;
mod probe;
pub mod process;
mod session;
mod step;
mod store;
mod unpack;
mod writer;

pub use platform::{Locate, OnnxPlatform};
