//! This vendor as the hal sees it: probe, fit, open.
//!
//! Next: `selftest.rs`.

use std::path::PathBuf;

use gimbal_hal::{
    Artifact, Class, DeviceError, DeviceInfo, Fit, Host, Platform, Probe, Profile, Reading, Seat,
    Servable, Unfit,
};

use crate::driver::{self, Device};
use crate::probe::{self, NAME};
use crate::rank::Rank;
use crate::step::CudaBackend;
use crate::{fit, nvml};

/// NVIDIA GPUs.
#[derive(Clone, Debug, Default)]
pub struct CudaPlatform {
    /// The setting `libcuda`.
    pub library: Option<PathBuf>,
}

impl CudaPlatform {
    /// The device that has an id now: its number may be another one than when it was found.
    fn open_device(&self, placed: &DeviceInfo) -> Result<Device, DeviceError> {
        let missing = |missing: driver::Missing| DeviceError::Library {
            library: "libcuda".to_owned(),
            why: missing.to_string(),
        };
        driver::load(self.library.as_deref()).map_err(missing)?;
        let count = driver::init().map_err(|why| DeviceError::Lost { why })?;
        let is_it = |ordinal: &u16| {
            driver::facts(*ordinal).is_ok_and(|facts| placed.id == probe::id(&facts))
        };
        let ordinal = (0..count).find(is_it).ok_or_else(|| DeviceError::Lost {
            why: format!("{} ({}) is not there any more", placed.id, placed.name),
        })?;
        Device::open(ordinal)
    }
}

impl Platform for CudaPlatform {
    fn name(&self) -> &'static str {
        NAME
    }

    fn class(&self) -> Class {
        Class::Accelerator
    }

    fn probe(&self, host: &Host) -> Probe {
        probe::probe(self.library.as_deref(), host)
    }

    fn fit(
        &self,
        devices: &[DeviceInfo],
        artifact: &Artifact,
        profile: &Profile,
    ) -> Result<Fit, Unfit> {
        let Artifact::Decoder(model) = artifact else {
            let what = format!("{}: only language models of GGUF and safetensors", artifact.what());
            return Err(Unfit::Op { platform: NAME, what });
        };
        fit::fit(devices, model, profile)
    }

    fn open(&self, fit: &Fit, seat: Seat, artifact: &Artifact) -> Result<Servable, DeviceError> {
        let refused = |why: String| DeviceError::Model { why };
        let (Artifact::Decoder(model), Some(limits)) = (artifact, fit.limits()) else {
            return Err(refused(format!("{} is not what was planned", artifact.what())));
        };
        let promised = fit::promised(fit, model).map_err(refused)?;
        let devices = fit.replicas[seat.replica].devices.iter().enumerate();
        let rank = |(rank, device): (usize, &DeviceInfo)| {
            let program = |base| promised.program(model, rank, base);
            Rank::open(self.open_device(device)?, model, &promised.shards, program)
        };
        let ranks = devices.map(rank).collect::<Result<_, _>>()?;
        Ok(Servable::Generate(Box::new(CudaBackend::new(limits.clone(), ranks))))
    }

    /// They write to each other's memory.
    fn holds_all_ranks(&self) -> bool {
        true
    }

    fn settings(&self) -> &'static [&'static str] {
        &[
            "dtype",
            "kv_cache_dtype",
            "replicas",
            "tensor_parallel_degree",
            "device_memory_share",
            "libcuda",
            "speculative",
        ]
    }

    fn readings(&self) -> Vec<Reading> {
        nvml::readings(self.library.as_deref())
    }
}
