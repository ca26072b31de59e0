//! One vendor: what devices there are, whether a model fits, and how it is opened.
//!
//! Numbers are decided in `fit`, before a weight is read; `open` keeps the promise. Next:
//! `backend.rs`.

use std::path::PathBuf;

use gimbal_model::Model;
use serde::{Deserialize, Serialize};

use crate::{
    Artifact, DeviceError, DeviceId, DeviceInfo, Fit, Host, KernelReport, Profile, Quantize, Seat,
    Servable, Unfit,
};

/// One vendor's devices. A static list of these stands in the binary's `boot/platforms.rs`.
pub trait Platform: Send + Sync {
    /// The name settings and logs use: `onnx`, `cuda`, `neuron`, `sim`.
    fn name(&self) -> &'static str;

    /// What kind of devices these are: it decides the order in which platforms are tried.
    fn class(&self) -> Class;

    /// True if answers are made up, also where they pass for those of real devices.
    fn is_simulated(&self) -> bool {
        self.class() == Class::Simulated
    }

    /// Looks for devices. A missing or broken driver is a reason, never an error.
    fn probe(&self, host: &Host) -> Probe;

    /// Decides how the model would run on these devices.
    ///
    /// # Errors
    /// Why it cannot, with numbers.
    fn fit(
        &self,
        devices: &[DeviceInfo],
        artifact: &Artifact,
        profile: &Profile,
    ) -> Result<Fit, Unfit>;

    /// Opens what one device holds, as `fit` promised.
    ///
    /// # Errors
    /// The device or the model file failed.
    ///
    /// # Panics
    /// If there is no such seat: a bug of the caller.
    fn open(&self, fit: &Fit, seat: Seat, artifact: &Artifact) -> Result<Servable, DeviceError>;

    /// Variables that a process of its own needs from its start on, to open that seat.
    fn environment(&self, _: &Fit, _: Seat) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// True if one opening holds all devices of a copy, in one process: rank 0's. Otherwise each rank is
    /// opened on its own.
    fn holds_all_ranks(&self) -> bool {
        false
    }

    /// Settings that mean something to these devices and not to all others, of
    /// [`DEVICE_SETTINGS`].
    fn settings(&self) -> &'static [&'static str];

    /// What commands may ask beside serving.
    fn tools(&self) -> Option<&dyn Tools> {
        None
    }

    /// How the devices are now; empty where nothing can be read. The server asks every few seconds, in
    /// its own process also where workers hold the devices, on a thread that may wait.
    fn readings(&self) -> Vec<Reading> {
        Vec::new()
    }
}

/// Settings that mean nothing on some devices: where they do not, a person is told.
pub const DEVICE_SETTINGS: [&str; 15] = [
    "threads",
    "kernels",
    "onnxruntime",
    "packed_cache",
    "quantize",
    "dtype",
    "kv_cache_dtype",
    "replicas",
    "tensor_parallel_degree",
    "device_memory_share",
    "libcuda",
    "libnrt",
    "neuronx_cc",
    "simulation",
    "speculative",
];

/// What kind of devices a platform has, the preferred first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Devices beside the host's processor.
    Accelerator,
    /// The host's own processor.
    Host,
    /// None at all: answers are made up. Asked for by name only.
    Simulated,
}

/// What a platform found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// Usable devices.
    Found(Vec<DeviceInfo>),
    /// None, and why.
    Absent {
        /// What was looked for and not found.
        why: String,
    },
    /// Something is there and cannot be asked: a driver that crashes or hangs.
    Broken {
        /// What it did.
        why: String,
    },
}

/// How one device is now; `None` is what it does not tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which.
    pub device: DeviceId,
    /// Memory in use, by anybody, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// Memory there is, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Share of the time in which it computed, from 0 to 1.
    pub load: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    /// Errors that it told of and could not correct, since it was started.
    pub errors: Option<u64>,
}

/// What the command line asks of a platform.
pub trait Tools: Send + Sync {
    /// Loads the vendor's library, if that has not happened, and nothing else; tells which.
    ///
    /// # Errors
    /// It is missing, too old, or does not start.
    fn load(&self) -> Result<String, DeviceError>;

    /// Writes the weights in the device's layout to the cache, unless they are there.
    ///
    /// # Errors
    /// No cache is named, it cannot be written, or the model cannot be computed.
    fn pack(&self, fit: &Fit, artifact: &Artifact) -> Result<Packed, DeviceError>;

    /// Bytes of the weights in the device's layout; `None` where the model cannot be computed.
    fn packed_bytes(&self, model: &Model, quantize: Option<Quantize>) -> Option<u64>;

    /// Measures the kernels and what they are bound by, for some seconds.
    ///
    /// # Errors
    /// There is no memory for the weights that stream past.
    fn measure(&self, threads: u32) -> std::io::Result<KernelReport>;
}

/// A file of packed weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Where.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// It had been written before.
    pub was_there: bool,
}
