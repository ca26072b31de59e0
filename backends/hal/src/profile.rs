//! What the settings ask of a device, whichever it is.
//!
//! Next: `placement.rs`.

use gimbal_model::Model;
use gimbal_model::graph::{Graph, State};
use serde::{Deserialize, Serialize};

use crate::unfit::Unfit;

/// What the settings ask of a device; every field has been resolved with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Sequences that run together, at most.
    pub sequences_max: u32,
    /// Rows of a step, at most.
    pub rows_max: u32,
    /// Longest sequence; `None` takes the model's own.
    pub context_tokens_max: Option<u32>,
    /// Bytes for the KV cache of each copy; `None` lets the platform decide.
    pub kv_bytes: Option<u64>,
    /// What keys and values are kept as.
    pub kv_dtype: KvDtype,
    /// What accelerators compute in; `None` lets the platform decide by what the file has.
    pub dtype: Option<Dtype>,
    /// What float weights are rounded to at load; `None` keeps them.
    pub quantize: Option<Quantize>,
    /// Copies of the model; `None` lets the platform decide.
    pub replicas: Option<u16>,
    /// Devices that share one copy; `None` lets the platform decide.
    pub ranks: Option<u16>,
}

impl Profile {
    /// Tokens of the longest sequence: as set, or the model's own, which is told.
    ///
    /// # Errors
    /// What is set is none, or more than the model was trained for.
    pub fn context_tokens(&self, model: &Model, why: &mut Vec<String>) -> Result<u32, Unfit> {
        let trained = model.context_tokens;
        let refused = |set: u32, why: String| Unfit::Setting {
            setting: "max_model_len",
            value: set.to_string(),
            why,
        };
        match self.context_tokens_max {
            Some(0) => Err(refused(0, "a sequence has at least one token".to_owned())),
            Some(set) if set > trained => {
                Err(refused(set, format!("the model was trained for {trained} tokens")))
            }
            Some(set) => Ok(set),
            None => {
                why.push(format!("max_model_len = {trained}: the model's own"));
                Ok(trained)
            }
        }
    }
}

/// What products are computed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    /// IEEE half.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// f32.
    F32,
}

impl Dtype {
    /// By a name of the setting `dtype`; none for `auto`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "fp16" | "half" | "float16" => Some(Self::F16),
            "bf16" | "bfloat16" => Some(Self::Bf16),
            "fp32" | "float" | "float32" => Some(Self::F32),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
        }
    }
}

/// What float weights are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantize {
    /// Eight bits and an f16 scale for 32 weights.
    Q8,
    /// Four bits, an f16 scale and an f16 offset for 32 weights.
    Q4,
}

/// What keys and values are kept as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
