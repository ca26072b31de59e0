//! A device that is none: deterministic tokens, a cost model as data, faults by script.
//!
//! The next token is a hash of every token before it, read back through the block table, so a
//! block that was shared, freed or overwritten wrongly changes the text. Nobody should mistake its
//! answers for a model's: the platform calls itself `sim` and its devices SIMULATED.
//!
//! Reading order: `tokens` (what the model would say), `cost` (how long a step takes), `script`
//! (what goes wrong), `cells` (the KV cache), `backend`, `platform`.
//!
//! # Invariants
//! - Absent: randomness and clocks. Equal calls give equal answers; only real time sleeps.
//! - A batch that breaks a rule, reads KV that nobody wrote or leaves its slot's history is a bug
//!   of the caller and panics.

#![forbid(unsafe_code)]

mod backend;
mod cells;
mod cost;
mod platform;
mod script;
mod tokens;

pub use backend::{Config, SimBackend, Time};
pub use cells::Reads;
pub use cost::Cost;
pub use platform::{NAME, Sensors, SimPlatform};
pub use script::{Incident, Script};
pub use tokens::{Chain, Row, injected};
