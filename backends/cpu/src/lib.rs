//! Models on CPUs: kernels, weights in their layout, the paged KV cache, one pool of threads. Knows no
//! ONNX Runtime.
//!
//! Reading order: `pack` (weights in the kernels' layout; `unpack`, what
//! they hold), `store` (where they lie; `packed_file` the file, `writer` the thread that writes it),
//! `memory` and `kv_cache`, `affinity`, `contention` and `pool` (threads), `kernels/` (arithmetic),
//! `turns` and `cpu` (threads and kernels, shared by all models), `ops/` (the nodes of `gimbal_model::fuse`), `measure` (kernels against what the CPU can
//! do), `sensors` (how the CPU is).
//!
//! # Invariants
//! - A row's result depends on its tokens and position only: every reduction runs in an order that
//!   is fixed by K and position, never by row count, thread count or neighbours.
//! - Weights are held once: packed at open, the file's pages are not read again except for rows of an
//!   embedding that no head shares in its own type.
//! - Nobody outside sees a weight, so nobody copies one.

mod affinity;
mod contention;
mod cpu;
mod kernels;
mod kv_cache;
mod measure;
mod memory;
mod ops;
mod pack;
mod packed_file;
mod pool;
mod sensors;
mod store;
mod turns;
mod unpack;
mod writer;

pub use affinity::settle;
pub use cpu::Cpu;
pub use kernels::KernelChoice;
pub use kernels::table::{Kernels, TILE_QUERIES_MAX};
pub use kv_cache::BLOCK_TOKENS;
pub use measure::measure;
pub use ops::attention::HEAD_DIM_MAX;
pub use ops::executor::Executor;
pub use pack::{BLOCK, LANES, Packing, packed_type};
pub use sensors::{Condition, Sensors};
pub use store::{Stored, keep, open, packed_bytes};
