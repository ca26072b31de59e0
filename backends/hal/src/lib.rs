//! How a device is asked: one `Platform` per vendor, one `Backend` per opened device.
//!
//! Everything that differs between devices and can be said as data is said in
//! [`gimbal_batch::Limits`]; the traits are few, small, `dyn`, and called once a step. The caller
//! validates: a backend may assert that a batch is legal.
//!
//! Reading order: `host` (what the process may use), `unfit` (why not), `profile` (what the settings ask), `artifact`
//! (what is served), `placement` (devices and the promise), `platform` (probe, fit, open), `backend`
//! (submit, collect), `infer` (models that do not generate), `error`, `report`, `remote`
//! and `worker` (a device in another process, from both sides), `group` (several ranks), `sample` (the
//! host sampler backends share).
//!
//! # Invariants
//! - Requests, queues, clocks and text are absent.
//! - A method is added to `Backend` only when it first failed to be a field of `Limits`.

mod artifact;
mod backend;
mod error;
mod group;
mod host;
mod infer;
mod placement;
mod platform;
mod profile;
mod remote;
mod report;
pub mod sample;
mod unfit;
pub mod worker;

pub use artifact::Artifact;
pub use backend::Backend;
pub use error::DeviceError;
pub use group::Group;
pub use host::Host;
pub use infer::{Infer, Port, Servable, Signature, Tensor, TensorData};
pub use placement::{Batching, Claim, DeviceId, DeviceInfo, Fit, Kind, Placement, Reads, Seat};
pub use platform::{Class, DEVICE_SETTINGS, Packed, Platform, Probe, Reading, Tools};
pub use profile::{Dtype, KvDtype, Profile, Quantize};
pub use remote::{Remote, Told};
pub use report::{KernelFigure, KernelReport, Peaks};
pub use unfit::Unfit;
