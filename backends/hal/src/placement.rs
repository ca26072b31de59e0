//! Where a model runs: devices, what is taken of them, and the promise made before a weight is read.
//!
//! Next: `platform.rs`.

use gimbal_batch::Limits;
use serde::{Deserialize, Serialize};

use crate::Profile;

/// Names a device as long as the machine has it: a UUID or PCI address behind the platform's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceId(String);

impl DeviceId {
    /// The vendor's stable name of it, behind the platform's: `cuda:GPU-5d1c…`.
    #[must_use]
    pub fn new(platform: &str, stable: &str) -> Self {
        Self(format!("{platform}:{stable}"))
    }

    /// As settings, logs and metrics have it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DeviceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One device, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The platform's name.
    pub platform: String,
    /// Stable over restarts.
    pub id: DeviceId,
    /// Number on that platform, from 0.
    pub ordinal: u16,
    /// The vendor's name for it.
    pub name: String,
    /// Version of its driver, where it has one.
    pub driver: Option<String>,
    /// Memory it has, in bytes.
    pub memory_total_bytes: u64,
    /// Memory a model may still take, in bytes.
    pub memory_bytes: u64,
    /// What limits it, with numbers.
    pub memory_why: String,
    /// Cores, SMs or NeuronCores the process may use.
    pub cores: u32,
    /// The NUMA node it hangs on, where that is known.
    pub numa_node: Option<u16>,
    /// Instruction sets or compute capability, as the vendor spells them.
    pub features: Vec<String>,
}

/// Devices that hold one copy of a model together; their count is that of the ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Rank 0 first.
    pub devices: Vec<DeviceInfo>,
}

/// One device's place: `fit.replicas[replica].devices[rank]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Which copy.
    pub replica: usize,
    /// Which of its devices.
    pub rank: usize,
}

/// Bytes that a model takes of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose memory.
    pub device: DeviceId,
    /// How much of it.
    pub bytes: u64,
    /// Nobody else can have the device as long as this holds, whatever is left of its memory.
    pub is_sole: bool,
}

/// How a model is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It generates, step by step.
    Generate(Limits),
    /// It maps tensors to tensors.
    Infer(Batching),
}

/// How requests for tensors may be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Largest size of axis 0; `None` where the model sets none.
    pub rows_max: Option<u32>,
}

/// Bytes that a step of single rows must read, whatever else it does: what an upper bound of its speed
/// follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// Weights that are multiplied with: each costs a row two operations.
    pub weights: u64,
    /// Their bytes, on all devices of one copy together: each step reads them once.
    pub weight_bytes: u64,
    /// Keys and values of one token, over all layers.
    pub kv_bytes_per_token: u64,
}

/// A promise made before a weight is read: how the model will run, and why so.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Independent copies of the model (lanes), at least one.
    pub replicas: Vec<Placement>,
    /// What all copies take together: weights, KV and scratch.
    pub claims: Vec<Claim>,
    /// How it is asked.
    pub kind: Kind,
    /// What a step reads; `None` where nothing is computed.
    pub reads: Option<Reads>,
    /// The profile it was made for.
    pub profile: Profile,
    /// One sentence for each decision, with its arithmetic.
    pub why: Vec<String>,
}

impl Fit {
    /// Bytes on all devices together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.claims.iter().map(|claim| claim.bytes).fold(0, u64::saturating_add)
    }

    /// What the scheduler may ask of each copy, where the model generates.
    #[must_use]
    pub fn limits(&self) -> Option<&Limits> {
        match &self.kind {
            Kind::Generate(limits) => Some(limits),
            Kind::Infer(_) => None,
        }
    }
}
