//! WHAT is computed: a model file becomes a graph and mapped weights.
//!
//! Reading order: `graph` (the IR), `decoder` (configuration → graph), `config` (model file →
//! configuration), `weights/` (the mapped file, its reader, its block types), `shard` (a graph for
//! one of several ranks), `interp` (the slow oracle every backend is compared with), `model` (all
//! of it, opened).
//!
//! # Invariants
//! - Devices, batches, sequences and padding are absent; only `weights/map.rs` touches a file.
//! - A graph that builds is well formed: `Graph::add` checks every shape.
//! - Nothing in a model file can make this crate panic: readers check every bound and answer
//!   `ModelError`.

mod config;
mod decoder;
mod error;
pub mod graph;
pub mod interp;
mod model;
mod shard;
pub mod weights;

pub use decoder::{Decoder, decoder};
pub use error::ModelError;
pub use model::{Model, TextData};
pub use shard::shard;
