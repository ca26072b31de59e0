//! From a path to a warm model: probe → plan → open → warm.
//!
//! Reading order: `platforms` (the static list), `plan` (which of them, and how), `open` (the engine
//! joins what they open with the scheduler), `load` (all models of a server);
//! `roofline` (how fast that can be at best), `probing` and `worker` (what is done in a `child`), `simulation`.

mod child;
mod fallback;
mod load;
mod open;
mod plan;
mod platforms;
mod probing;
mod roofline;
mod simulation;
pub(crate) mod worker;

use std::time::Instant;

pub(crate) use load::load_all;
pub(crate) use plan::{Devices, Plan, with_tools};
pub(crate) use platforms::platforms;
pub(crate) use probing::probe;
pub(crate) use roofline::Roofline;

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
