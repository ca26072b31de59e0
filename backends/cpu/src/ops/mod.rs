//! The fused nodes and what they share.
//!
//! Work is cut here and computed in `kernels/`. A column of a result is made by one chunk of one
//! run, so neither the count of chunks nor of threads changes a bit. Reading order: `executor` (the
//! nodes of a model), `plan` (a step as they read it), `attention`, `feed_forward`, `head`, `norm`,
//! `linear` (how work is cut), `bind` (weights), `scratch`.

pub(crate) mod attention;
mod bind;
pub(crate) mod executor;
mod feed_forward;
mod head;
pub(crate) mod linear;
mod norm;
mod plan;
mod scratch;
