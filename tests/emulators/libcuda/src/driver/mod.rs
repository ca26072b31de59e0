//! The functions of `libcuda.so.1` around the interpreter: what an unmodified program that asks for a
//! device finds here.
//!
//! `border` follows C's pointers, `code` has result codes, `machine` what is emulated. `state` is all
//! that the driver knows, `work` what streams hold, `queue` how it gets done. Then the functions, by
//! theme: `errors`, `device`, `context`, `memory`, `copies`, `module` with `cubin`, `launch`, `stream`, `event`, `capture`,
//! `graph`, and `symbols`, which lists them all. `nvml` tells of the same devices as
//! `libnvidia-ml.so.1` does.
//!
//! # Invariants
//! - Work runs only while somebody waits or asks, in the order that the machine's file wants.
//! - What a function does not do it refuses, and says so on stderr; a symbol that is not here is not
//!   there either.

mod border;
mod capture;
mod code;
mod context;
mod copies;
mod cubin;
mod device;
mod errors;
mod event;
mod graph;
mod launch;
mod machine;
mod memory;
mod module;
mod nvml;
mod queue;
mod state;
mod stream;
mod symbols;
mod work;
