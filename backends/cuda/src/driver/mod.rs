//! NVIDIA's driver through `cudarc`, as much of it as this backend needs.
//!
//! Reading order: `library` (found, checked, loaded once), `error` (what the driver answers, in words),
//! `facts` (what a device is), `context` and `device` (our kernels and one stream), `memory` (what is
//! allocated), `graph` (launches that are queued together), `event` (when work is done). Next: `library.rs`.
//!
//! # Invariants
//! - No function is called before `library::load` has found every entry point that may be called:
//!   `cudarc` panics for one that is missing.
//! - A handle ends with the value that holds it, after the work that was queued.

mod context;
mod device;
mod error;
mod event;
mod facts;
mod graph;
mod library;
mod memory;

pub(crate) use device::{Device, init};
pub(crate) use event::Event;
pub(crate) use facts::{Facts, facts};
pub(crate) use graph::Graph;
pub(crate) use library::{Missing, load};
pub(crate) use memory::{Memory, Pinned, Plain};

pub(crate) use error::{lost, said};
