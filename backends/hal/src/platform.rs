//! One vendor: what devices there are, whether a model fits, and how it is opened.
//!
//! Numbers are decided in `fit`, before a weight is read; `open` keeps the promise. Next:
//! `backend.rs`.

use std::path::PathBuf;
use std::sync::Arc;

use gimbal_batch::Limits;
use gimbal_model::Model;
use gimbal_model::graph::{Graph, State};

use crate::{Backend, DeviceError, Infer};

/// One vendor's devices. A static list of these stands in the binary's `boot.rs`.
pub trait Platform: Send + Sync {
    /// The name settings and logs use: `onnx`, `cuda`, `neuron`, `sim`.
    fn name(&self) -> &'static str;

    /// Looks for devices. A missing or broken driver is a reason, never an error.
    fn probe(&self, host: &Host) -> Probe;

    /// Decides how the model would run on these devices.
    ///
    /// # Errors
    /// Why it cannot, with numbers.
    fn fit(&self, devices: &[DeviceInfo], model: &Model, profile: &Profile) -> Result<Fit, Unfit>;

    /// Opens the model as `fit` promised.
    ///
    /// # Errors
    /// The device or the model file failed.
    fn open(&self, fit: &Fit, source: &Source) -> Result<Servable, DeviceError>;
}

/// What the process may use of the machine it runs on, read once by whoever starts it; a platform
/// asks nobody else for limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Threads that compute without standing still, at least one.
    pub cores: u32,
    /// Memory that can still be taken.
    pub memory_bytes: u64,
    /// What limits it, with numbers.
    pub memory_why: String,
}

/// What a platform found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Usable devices.
    Found(Vec<DeviceInfo>),
    /// None, and why.
    Absent {
        /// What was looked for and not found.
        why: String,
    },
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The platform's name.
    pub platform: &'static str,
    /// Number on that platform, from 0.
    pub ordinal: u16,
    /// The vendor's name for it.
    pub name: String,
    /// Memory a model may use, in bytes.
    pub memory_bytes: u64,
    /// What limits it, with numbers.
    pub memory_why: String,
    /// Cores, SMs or NeuronCores the process may use.
    pub cores: u32,
    /// Instruction sets or compute capability, as the vendor spells them.
    pub features: Vec<String>,
}

/// What the settings ask of a device; every field has been resolved with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Sequences that run together, at most.
    pub sequences_max: u32,
    /// Rows of a step, at most.
    pub rows_max: u32,
    /// Tokens of a KV block.
    pub block_tokens: u32,
    /// Longest sequence; `None` takes the model's own.
    pub context_tokens_max: Option<u32>,
    /// Bytes for the KV cache; `None` lets the platform decide.
    pub kv_bytes: Option<u64>,
    /// What keys and values are kept as.
    pub kv_dtype: KvDtype,
    /// Host threads; `None` takes all the process may use.
    pub threads: Option<u32>,
    /// Path of a vendor library, where one was set.
    pub library: Option<PathBuf>,
    /// What float weights are rounded to at load; `None` keeps them.
    pub quantize: Option<Quantize>,
    /// Folder for weights in the kernels' layout; `None` packs them in memory at every start.
    pub packed_cache: Option<PathBuf>,
}

/// What float weights are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantize {
    /// Eight bits and an f16 scale for 32 weights.
    Q8,
    /// Four bits, an f16 scale and an f16 offset for 32 weights.
    Q4,
}

/// What keys and values are kept as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvDtype {
    /// 16-bit floats.
    #[default]
    F16,
    /// int8 with an f32 scale for each token, kv head, key and value.
    Int8,
}

impl KvDtype {
    /// All of them, by the names of the setting `kv_cache_dtype`.
    pub const ALL: [(&str, Self); 2] = [("f16", Self::F16), ("int8", Self::Int8)];

    /// Its name in the setting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// Bytes of one token over all layers.
    #[must_use]
    pub fn bytes_per_token(self, graph: &Graph) -> u64 {
        let bytes = |state: &State| {
            let State::Kv { kv_heads, head_dim, .. } = *state;
            let vector = match self {
                Self::F16 => 2 * head_dim,
                Self::Int8 => head_dim + size_of::<f32>(),
            };
            2 * kv_heads * vector
        };
        graph.states.iter().map(bytes).sum::<usize>() as u64
    }
}

/// A promise made before a weight is read: how the model will run, and why so.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Independent copies of the model (lanes).
    pub replicas: u16,
    /// Devices that share one copy.
    pub ranks: u16,
    /// Bytes each device will hold: weights, KV and scratch.
    pub device_bytes: u64,
    /// What the scheduler may ask.
    pub limits: Limits,
    /// The profile it was made for.
    pub profile: Profile,
    /// One sentence for each decision, with its arithmetic.
    pub why: Vec<String>,
}

/// Why a model cannot run on a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Too little memory.
    #[error(
        "the model needs {need_bytes} bytes ({what}) and {have_bytes} are available ({have_why}); \
         use a smaller model or a larger machine, or lower {setting}"
    )]
    Memory {
        /// Bytes needed.
        need_bytes: u64,
        /// Bytes available.
        have_bytes: u64,
        /// What limits them.
        have_why: String,
        /// What they are for.
        what: String,
        /// The setting that lowers the need.
        setting: &'static str,
    },
    /// The model uses something the platform cannot compute.
    #[error("{platform} cannot compute {what}")]
    Op {
        /// The platform.
        platform: &'static str,
        /// The op, type or shape, and where it stands.
        what: String,
    },
    /// A setting cannot be met.
    #[error("{setting} = {value}: {why}")]
    Setting {
        /// The setting's key.
        setting: &'static str,
        /// Its value.
        value: String,
        /// Why not, and what would do.
        why: String,
    },
}

/// The model to open.
#[derive(Clone, Debug)]
pub enum Source {
    /// A generation model: graph and mapped weights.
    Graph(Arc<Model>),
    /// Any `.onnx` file.
    Onnx(PathBuf),
}

/// An opened model.
pub enum Servable {
    /// It generates, step by step.
    Generate(Box<dyn Backend>),
    /// It maps tensors to tensors.
    Infer(Box<dyn Infer>),
}

impl std::fmt::Debug for Servable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Generate(backend) => f.debug_tuple("Generate").field(backend.limits()).finish(),
            Self::Infer(infer) => f.debug_tuple("Infer").field(infer.signature()).finish(),
        }
    }
}
