//! Tests of the engine on the simulated device.
//!
//! Reading order: `rig` (a service and a device that waits), `promises`, `lanes` (two of them), `bugs`.

mod bugs;
mod devices;
mod lanes;
mod models;

mod promises;
mod rig;
