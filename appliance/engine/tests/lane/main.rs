//! Tests of the engine on the simulated device.
//!
//! Reading order: `rig` (a service and a device that waits), `promises`, `lanes` (two of them), `readings`, `bugs`.

mod bugs;
mod devices;
mod grammars;
mod lanes;
mod models;

mod promises;
mod readings;
mod rig;
mod scores;
