//! The simulated platform: one device that fits every model.
//!
//! It is asked for by name only; nothing falls back to it.

use gimbal_batch::{Kv, Limits, Prefill, Sampling, Shape};
use gimbal_hal::{
    DeviceError, DeviceInfo, Fit, Host, Platform, Probe, Profile, Servable, Source, Unfit,
};
use gimbal_model::Model;

use crate::backend::{Config, SimBackend};

/// Bytes a token is said to keep in the KV cache.
const TOKEN_BYTES: u64 = 1024;

/// Most blocks unless bytes are given: enough for tests, small enough for any machine.
const BLOCKS_MAX: u32 = 1 << 16;

/// A platform whose device is [`SimBackend`].
#[derive(Clone, Debug)]
pub struct SimPlatform {
    /// How its device behaves. A model's own vocabulary replaces `vocab`.
    pub config: Config,
    /// Which steps the device takes; `None` is any mixture of the profile's rows.
    pub shape: Option<Shape>,
    /// Whether prompts may be computed in pieces.
    pub prefill: Prefill,
    /// Steps in flight.
    pub depth: u32,
}

impl Platform for SimPlatform {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn probe(&self, _: &Host) -> Probe {
        Probe::Found(vec![DeviceInfo {
            platform: self.name(),
            ordinal: 0,
            name: "SIMULATED device: answers are hashes, not text".to_owned(),
            memory_bytes: 1 << 30,
            memory_why: "simulated".to_owned(),
            cores: 1,
            features: Vec::new(),
        }])
    }

    fn fit(&self, devices: &[DeviceInfo], model: &Model, profile: &Profile) -> Result<Fit, Unfit> {
        let have_bytes = devices.iter().map(|device| device.memory_bytes).min().unwrap_or(0);
        let context = profile.context_tokens_max.unwrap_or(model.context_tokens);
        let block_tokens = profile.block_tokens.max(1);
        let block_bytes = u64::from(block_tokens) * TOKEN_BYTES;
        let each = context.div_ceil(block_tokens);
        let blocks = match profile.kv_bytes {
            Some(bytes) => u32::try_from(bytes / block_bytes).unwrap_or(u32::MAX),
            None => each.saturating_mul(profile.sequences_max).min(BLOCKS_MAX),
        };
        let need_bytes = u64::from(blocks.max(1)) * block_bytes;
        if need_bytes > have_bytes || blocks == 0 {
            let what = format!("{} KV blocks of {block_bytes} bytes", blocks.max(1));
            let have_why = devices.first().map(|d| d.memory_why.clone()).unwrap_or_default();
            let setting = "kv_cache_bytes";
            return Err(Unfit::Memory { need_bytes, have_bytes, have_why, what, setting });
        }
        let limits = Limits {
            kv: Kv { blocks, block_tokens },
            shape: self.shape.clone().unwrap_or(Shape::Varlen { rows_max: profile.rows_max }),
            prefill: self.prefill,
            sequences_max: profile.sequences_max,
            context_tokens_max: context,
            depth: self.depth,
            sampling: Sampling::HOST,
            batch_invariant: true,
        };
        let why = vec![
            "SIMULATED: tokens are hashes of the tokens before them".to_owned(),
            format!("{blocks} KV blocks of {block_tokens} tokens, {each} hold one full context"),
        ];
        let (replicas, ranks, device_bytes) = (1, 1, need_bytes);
        Ok(Fit { replicas, ranks, device_bytes, limits, profile: profile.clone(), why })
    }

    fn open(&self, fit: &Fit, source: &Source) -> Result<Servable, DeviceError> {
        let Source::Graph(model) = source else {
            let why = "the simulated device only generates; give it a generation model".to_owned();
            return Err(DeviceError::Model { why });
        };
        let vocab = model.decoder.vocab;
        let vocab = u32::try_from(vocab).map_err(|_| DeviceError::Model {
            why: format!("{vocab} tokens are more than 32 bits can name"),
        })?;
        let config = Config { vocab, ..self.config.clone() };
        Ok(Servable::Generate(Box::new(SimBackend::new(fit.limits.clone(), config))))
    }
}
