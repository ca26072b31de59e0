//! A model's graph → HLO modules, one for each compiled shape.
//!
//! Op by op, not by fused nodes: a compiler of whole modules fuses them itself, and what `shard` writes is lowered
//! by the same table. Elements are computed in f32; sides of products, and what is cached, are of the type that
//! was asked for. Weights are multiplied as they lie in the file, `[out, inp]`.
//!
//! Reading order: `program` (what goes in and out), `nodes` (an op each), `attention`, `choice` (tokens),
//! `draws` (what those are drawn by), `inputs` (a step's rows, padded). Next: `program.rs`.

mod attention;
mod choice;
mod draws;
mod inputs;
mod nodes;
mod program;

pub use draws::{Draw, uniform};
pub use inputs::{Inputs, Part, Pick, inputs};
pub use program::{Parameter, Program, Wants, lower};
