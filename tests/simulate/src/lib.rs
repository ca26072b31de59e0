//! Thousands of seeded lives of the scheduler against a simulated device, in virtual time.
//!
//! Reading order: `rng`, `scenario` (what a seed decides), `ledger` (what each client must see),
//! `world` (one run, checked at every step), `desk` (for
//! tests of single rules), `bench` (what a step costs the host), `mutants` and `mutations` (whether
//! the tests would notice), `lab` (what a policy is worth).
//!
//! # Invariants
//! - A seed decides a run completely; a failure prints it and `GIMBAL_SEED=` replays it.
//! - Absent: clocks, threads inside a run, real devices.

#![forbid(unsafe_code)]

pub mod bench;
pub mod desk;
pub mod lab;
mod ledger;
pub mod mutants;
pub mod mutations;
mod rng;
mod scenario;
mod world;

pub use ledger::{Ledger, Past};
pub use rng::Rng;
pub use scenario::{Scenario, mask};
pub use world::run;
