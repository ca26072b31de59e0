//! An emulated runtime of AWS Neuron, for tests on machines without a chip: what loads `libnrt.so.1` finds here
//! a strict reader of the contract, which computes. It shows that calls come in order, with the right handles,
//! tensors and sizes, and what comes of faults; it shows nothing about a compiler, a chip or speed, and nothing
//! that runs here may be called verified on one.
//!
//! Reading order: `machine` (the script in TOML that `GIMBAL_TEST_NRT` names), `border` (C's pointers),
//! `refusal`, `neff` (the container), `storage` (memory), `program` (HLO, run by `gimbal-hlo`), `state` (all that the
//! runtime knows, and how each call is answered), then the functions: `runtime`, `tensors`, `sets`, `models`,
//! `ranks`, `execution`. Beside them `compiler`, a fake neuronx-cc.
//!
//! What is not in AWS's documentation is decided here, strictly: a place where a program may stumble over the
//! emulator and not over a chip, never the other way round.
//!
//! # Invariants
//! - Nothing of the product depends on this crate, and neither image nor file for release has it:
//!   `cargo xtask dist` looks for the words of its version.
//! - A handle is a number that was given out once; it is looked up, never followed.
//! - Every refusal says why on stderr; `nrt_close` tells what was left and what was misused.

mod border;
pub mod compiler;
mod execution;
mod machine;
mod models;
mod neff;
mod program;
mod ranks;
mod refusal;
mod runtime;
mod sets;
mod state;
mod storage;
mod tensors;

pub use neff::MODULE;
