//! How a device is asked: one `Platform` per vendor, one `Backend` per opened device.
//!
//! Everything that differs between devices and can be said as data is said in
//! [`gimbal_batch::Limits`]; the traits are few, small, `dyn`, and called once a step. The caller
//! validates: a backend may assert that a batch is legal.
//!
//! Reading order: `platform` (probe, fit, open), `backend` (submit, collect), `infer` (models that
//! do not generate), `error`, `sample` (the host sampler backends share).
//!
//! # Invariants
//! - Requests, queues, clocks and text are absent.
//! - A method is added to `Backend` only when it first failed to be a field of `Limits`.

mod backend;
mod error;
mod infer;
mod platform;
pub mod sample;

pub use backend::Backend;
pub use error::DeviceError;
pub use infer::{Infer, Port, Signature, Tensor, TensorData};
pub use platform::{
    DeviceInfo, Fit, Host, KvDtype, Platform, Probe, Profile, Quantize, Servable, Source, Unfit,
};
