//! A model on one device: where everything of it lies, and the launches of a step.
//!
//! Plain data, made from shapes alone: `fit` makes one at address 0 to count its bytes, `step` one at the
//! address of the device's memory. Reading order: `shape` (what there is room for), `room` (addresses), `nodes`
//! (what is computed), `layout` (where it lies), `launches` (how it runs). Next: `program/shape.rs`.

mod launches;
mod layout;
mod nodes;
mod room;
mod shape;

pub(crate) use launches::Stages;
pub(crate) use layout::Program;
pub(crate) use shape::{BLOCK_TOKENS, Bytes, Form, Placed, SLAB_ROWS, Shape, Sizes, Source};
