//! The simulated platform: one device that fits every model.
//!
//! It is asked for by name only; nothing falls back to it.

use gimbal_batch::{Kv, Limits, Prefill, Sampling, Shape};
use gimbal_hal::{
    Artifact, Claim, Class, DeviceError, DeviceId, DeviceInfo, Fit, Host, Kind, Placement,
    Platform, Probe, Profile, Reading, Seat, Servable, Unfit,
};

use crate::backend::{Config, SimBackend};

/// The platform's name.
pub const NAME: &str = "sim";
/// Bytes a token is said to keep in the KV cache.
const TOKEN_BYTES: u64 = 1024;
/// Tokens of a block.
const BLOCK_TOKENS: u32 = 16;
/// Most blocks unless bytes are given: enough for tests, small enough for any machine.
const BLOCKS_MAX: u32 = 1 << 16;

/// Adapters a device holds: enough for tests.
const ADAPTERS_MAX: u32 = 4;

/// A platform whose devices are [`SimBackend`]s.
#[derive(Clone, Debug)]
pub struct SimPlatform {
    /// How its devices behave. A model's own vocabulary replaces `vocab`.
    pub config: Config,
    /// Memory of each device, in bytes; one entry a device.
    pub devices: Vec<u64>,
    /// What each device tells of itself beside its memory.
    pub sensors: Sensors,
    /// What it passes for.
    pub class: Class,
    /// Which steps a device takes; `None` is any mixture of the profile's rows.
    pub shape: Option<Shape>,
    /// Whether prompts may be computed in pieces.
    pub prefill: Prefill,
    /// Steps in flight.
    pub depth: u32,
}

/// What a device tells of itself; `None` is what it does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sensors {
    /// Memory in use, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// Share of the time in which it computes, from 0 to 1.
    pub load: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
    /// Errors since it was started.
    pub errors: Option<u64>,
}

impl SimPlatform {
    /// One device of 1 GiB that is asked for by name only.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            devices: vec![1 << 30],
            sensors: Sensors::default(),
            class: Class::Simulated,
            shape: None,
            prefill: Prefill::Chunked,
            depth: 2,
        }
    }
}

impl Platform for SimPlatform {
    fn name(&self) -> &'static str {
        NAME
    }

    fn class(&self) -> Class {
        self.class
    }

    fn probe(&self, _: &Host) -> Probe {
        let device = |(ordinal, memory_bytes): (u16, &u64)| DeviceInfo {
            platform: NAME.to_owned(),
            id: DeviceId::new(NAME, &ordinal.to_string()),
            ordinal,
            name: "SIMULATED device: answers are hashes, not text".to_owned(),
            driver: None,
            memory_total_bytes: *memory_bytes,
            memory_bytes: *memory_bytes,
            memory_why: "simulated".to_owned(),
            cores: 1,
            numa_node: None,
            features: Vec::new(),
        };
        Probe::Found((0..).zip(&self.devices).map(device).collect())
    }

    fn fit(
        &self,
        devices: &[DeviceInfo],
        artifact: &Artifact,
        profile: &Profile,
    ) -> Result<Fit, Unfit> {
        let Artifact::Decoder(model) = artifact else {
            let what = format!("{}: it only generates", artifact.what());
            return Err(Unfit::Op { platform: NAME, what });
        };
        let replicas = placements(devices, profile)?;
        let have_bytes = devices.iter().map(|device| device.memory_bytes).min().unwrap_or(0);
        let context = profile.context_tokens_max.unwrap_or(model.context_tokens);
        let block_bytes = u64::from(BLOCK_TOKENS) * TOKEN_BYTES;
        let each = context.div_ceil(BLOCK_TOKENS);
        let blocks = match profile.kv_bytes {
            Some(bytes) => u32::try_from(bytes / block_bytes).unwrap_or(u32::MAX),
            None => {
                let room = u32::try_from(have_bytes / block_bytes).unwrap_or(u32::MAX);
                each.saturating_mul(profile.sequences_max).min(BLOCKS_MAX).min(room)
            }
        };
        let need_bytes = u64::from(blocks.max(1)) * block_bytes;
        if need_bytes > have_bytes || blocks == 0 {
            let what = format!("{} KV blocks of {block_bytes} bytes", blocks.max(1));
            let have_why = devices.first().map(|d| d.memory_why.clone()).unwrap_or_default();
            let setting = "kv_cache_bytes";
            return Err(Unfit::Memory { need_bytes, have_bytes, have_why, what, setting });
        }
        let limits = Limits {
            kv: Kv { blocks, block_tokens: BLOCK_TOKENS },
            shape: self.shape.clone().unwrap_or(Shape::Varlen { rows_max: profile.rows_max }),
            prefill: self.prefill,
            sequences_max: profile.sequences_max,
            context_tokens_max: context,
            vocab: u32::try_from(model.graph.vocab()).unwrap_or(u32::MAX),
            adapters_max: ADAPTERS_MAX,
            inject_width: u32::try_from(model.decoder.hidden).unwrap_or(u32::MAX),
            depth: self.depth,
            sampling: Sampling::HOST,
            batch_invariant: true,
        };
        let placed = replicas.iter().flat_map(|placement| &placement.devices);
        let claims = placed
            .map(|d| Claim { device: d.id.clone(), bytes: need_bytes, is_sole: false })
            .collect();
        let why = vec![
            "SIMULATED: tokens are hashes of the tokens before them".to_owned(),
            format!("{blocks} KV blocks of {BLOCK_TOKENS} tokens, {each} hold one full context"),
        ];
        let (kind, profile) = (Kind::Generate(limits), profile.clone());
        Ok(Fit { replicas, claims, kind, reads: None, profile, why })
    }

    fn open(&self, fit: &Fit, seat: Seat, artifact: &Artifact) -> Result<Servable, DeviceError> {
        let refused = |why: String| DeviceError::Model { why };
        let (Artifact::Decoder(model), Some(limits)) = (artifact, fit.limits()) else {
            return Err(refused("the simulated device only generates".to_owned()));
        };
        assert!(seat.rank < fit.replicas[seat.replica].devices.len(), "a seat of the fit");
        let vocab = model.graph.vocab();
        let vocab = u32::try_from(vocab)
            .map_err(|_| refused(format!("{vocab} tokens are more than 32 bits can name")))?;
        let config = Config { vocab, ..self.config.clone() };
        Ok(Servable::Generate(Box::new(SimBackend::new(limits.clone(), config))))
    }

    fn settings(&self) -> &'static [&'static str] {
        &["replicas", "tensor_parallel_degree", "device_memory_share", "simulation", "speculative"]
    }

    fn readings(&self) -> Vec<Reading> {
        let reading = |(ordinal, bytes): (u16, &u64)| Reading {
            device: DeviceId::new(NAME, &ordinal.to_string()),
            memory_used_bytes: self.sensors.memory_used_bytes,
            memory_total_bytes: Some(*bytes),
            load: self.sensors.load,
            temperature: self.sensors.temperature,
            errors: self.sensors.errors,
        };
        (0..).zip(&self.devices).map(reading).collect()
    }
}

/// Copies on as many devices as are asked for, the first ones first: one copy on one device, unless
/// the profile says more.
fn placements(devices: &[DeviceInfo], profile: &Profile) -> Result<Vec<Placement>, Unfit> {
    let ranks = usize::from(profile.ranks.unwrap_or(1).max(1));
    let replicas = usize::from(profile.replicas.unwrap_or(1).max(1));
    if replicas * ranks > devices.len() {
        let (setting, value) = match ranks > devices.len() {
            true => ("tensor_parallel_degree", ranks),
            false => ("replicas", replicas),
        };
        let why = format!(
            "{replicas} copies on {ranks} devices each need {}, and there are {}",
            replicas * ranks,
            devices.len()
        );
        return Err(Unfit::Setting { setting, value: value.to_string(), why });
    }
    let placed = devices.chunks(ranks).take(replicas);
    Ok(placed.map(|devices| Placement { devices: devices.to_vec() }).collect())
}
