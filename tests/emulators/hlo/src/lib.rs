//! Runs HLO modules on the processor, for tests: what neuronx-cc would compile is computed here as it is
//! written, instruction after instruction. It shows that a module means what it should; it shows nothing of
//! what a compiler makes of it or of a device's speed.
//!
//! The boundary: [`Module::read`] takes a module's bytes and refuses by name what it does not know; [`Module::parameters`],
//! [`Module::results`] and [`Module::aliases`] tell names, types and sizes; [`Module::run`] computes. A
//! parameter that a result lies in is given as [`Argument::Donated`] and is changed in place: a `scatter` into it writes the rows that
//! it names and copies nothing. All others are [`Argument::Shared`]. Ranks of one model run on a thread each, with
//! one [`Exchange`] between them ([`Module::run_rank`]).
//!
//! Reading order: `buffer`, `run` (the order of instructions, what is kept how long), `movement`, `math`, `product`,
//! `exchange` (between ranks), `walk` (strides), `wide` (vectors), `rig` (a model on it),
//! `golden` (golden models).
//!
//! # Invariants
//! - Nothing of the product depends on this crate, and neither image nor file for release has it.
//! - Bytes from outside and arguments that do not fit are errors, never panics.
//! - An index outside of what it counts is an error with the instruction's number, where XLA would clamp or skip.
//! - Elements of bf16 are computed in f32 and rounded after each instruction; products sum in f32.

#![deny(unsafe_code)]

mod buffer;
mod exchange;
pub mod golden;
mod math;
mod movement;
mod product;
pub mod rig;
mod run;
mod walk;
mod wide;

pub use buffer::{Buffer, Data};
pub use exchange::Exchange;
pub use gimbal_neuron::hlo::{Alias, DType, Error as ReadError, Named, Shape};
pub use run::{Argument, Error, Module};
