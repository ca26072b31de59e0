//! HLO modules: a computation of static shapes on named parameters, as XLA and neuronx-cc read it.
//!
//! Reading order: `proto` (messages), `wire` (bytes to messages), `shape`, `op` (what instructions do), `infer`
//! (the shape of what they make), `module` (a computation), `builder` (makes one), `write` and `read` (to and
//! from messages), `lint` (what neuronx-cc would refuse). Next: `proto.rs`.

mod builder;
mod infer;
mod lint;
mod module;
mod op;
pub mod proto;
mod read;
mod shape;
mod wire;
mod write;

pub use builder::{Builder, Value};
pub use lint::{Finding, Target, lint};
pub use module::{Alias, Instruction, Module, Named};
pub use op::{Binary, Direction, Dot, Gather, Literal, Op, Scatter, Slice, Unary};
pub use read::Error;
pub use shape::{DType, Shape};
pub use wire::decode;
