//! What settings ask of a bundle.
//!
//! Next: `sizes.rs`.

use gimbal_batch::Bucket;
use gimbal_hal::{Dtype, KvDtype, Profile, Unfit};
use gimbal_model::Model;

use super::buckets::{CONTEXT_DEFAULT, default_buckets};
use crate::probe::Chip;

/// What somebody wants of a bundle.
#[derive(Clone, Debug)]
pub struct Asked {
    /// For which chip.
    pub target: Chip,
    /// Physical cores of a logical one.
    pub lnc: u32,
    /// Logical cores that hold the model together; `None` takes the fewest that do.
    pub ranks: Option<usize>,
    /// The shapes of steps.
    pub buckets: Vec<Bucket>,
    /// Share of a core's memory that may be taken. The runtime has the rest: of the 24 GiB of a core of Trainium2 users
    /// see about 22.
    pub memory_share: f64,
    /// Bytes of keys and values of all ranks together at most; `None` takes what is left.
    pub kv_bytes: Option<u64>,
}

impl Asked {
    /// Shapes by the sequences, rows and context of a profile, and all of a core's memory.
    ///
    /// # Errors
    /// The profile asks for what no bundle has.
    pub fn of(
        profile: &Profile,
        model: &Model,
        (target, lnc): (Chip, u32),
        why: &mut Vec<String>,
    ) -> Result<Self, Unfit> {
        let refuse = |setting, value: &str, why: &str| {
            Err(Unfit::Setting { setting, value: value.to_owned(), why: why.to_owned() })
        };
        if profile.kv_dtype == KvDtype::Int8 {
            return refuse("kv_cache_dtype", "int8", "keys and values are bf16 in a bundle");
        }
        if let Some(dtype) = profile.dtype.filter(|dtype| *dtype != Dtype::Bf16) {
            return refuse("dtype", dtype.name(), "weights are bf16 in a bundle");
        }
        let mut context = profile.context_tokens(model, &mut Vec::new())?;
        if profile.context_tokens_max.is_none() && context > CONTEXT_DEFAULT {
            why.push(format!(
                "max_model_len = {CONTEXT_DEFAULT}: each longer context takes more programs, and the model's own \
                 is {context}; --max-model-len sets it"
            ));
            context = CONTEXT_DEFAULT;
        }
        Ok(Self {
            target,
            lnc,
            ranks: profile.ranks.map(usize::from),
            buckets: default_buckets(profile.sequences_max, context, profile.rows_max),
            memory_share: 1.0,
            kv_bytes: profile.kv_bytes,
        })
    }
}
