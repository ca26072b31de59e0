//! WHAT is computed: a model file becomes a graph and mapped weights.
//!
//! Reading order: `graph` (the IR), `decoder` (configuration → graph), `config/` (what the files say →
//! configuration), `weights/` (mapped files, their readers, block types), `shard` (a graph for
//! one of several ranks, and what it reads of each weight), `fuse` (what devices compute in one piece), `interp` (the slow oracle every
//! backend is compared with; `interp/group` runs ranks together), `model/` (all of it, opened), `onnx_file` (a model that is an `.onnx` file), `json_text` (JSON as Python
//! writes it).
//!
//! # Invariants
//! - Devices, batches, sequences and padding are absent; only `weights/map.rs`, `model.rs`,
//!   `model/source.rs` and `onnx_file.rs` touch files.
//! - A key of a file that could change a number is computed with or refused by name.
//! - A graph that builds is well formed: `Graph::add` checks every shape.
//! - Nothing in a model file can make this crate panic: readers check every bound and answer
//!   `ModelError`.

mod config;
mod decoder;
mod error;
pub mod fuse;
pub mod graph;
pub mod interp;
pub mod json_text;
mod model;
mod onnx_file;
mod shard;
pub mod weights;

pub use decoder::{Decoder, HeadNorm, Layer, decoder};
pub use error::{ModelError, printable};
pub use model::{Model, Text, TextData, name_of};
pub use onnx_file::OnnxFile;
pub use shard::{Ranks, Shards, ranks_possible, shard};
