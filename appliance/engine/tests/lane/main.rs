//! Tests of the engine on the simulated device.
//!
//! Reading order: `rig` (a service and a device that waits), `promises`, `bugs`.

mod bugs;
mod promises;
mod rig;
