//! This vendor as the hal sees it: probe, fit, open.
//!
//! Next: `../lib.rs`.

use std::path::{Path, PathBuf};

use gimbal_hal::{
    Artifact, Class, DeviceError, DeviceInfo, Fit, Host, Platform, Probe, Profile, Reading, Seat,
    Servable, Unfit,
};

use crate::devices::{self, Core};
use crate::probe::{Environment, VISIBLE, first_visible};
use crate::rank::failed;
use crate::runtime::Runtime;
use crate::step::NeuronBackend;
use crate::{NAME, fit};

/// Inferentia and Trainium.
#[derive(Clone, Debug, Default)]
pub struct NeuronPlatform {
    /// The setting `libnrt`.
    pub library: Option<PathBuf>,
}

impl Platform for NeuronPlatform {
    fn name(&self) -> &'static str {
        NAME
    }

    fn class(&self) -> Class {
        Class::Accelerator
    }

    fn probe(&self, _: &Host) -> Probe {
        let environment = Environment::of_process();
        devices::probe(self.library.as_deref(), Path::new("/"), &environment)
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

    /// A process opens one copy, on the cores that its environment names.
    fn open(&self, fit: &Fit, seat: Seat, artifact: &Artifact) -> Result<Servable, DeviceError> {
        let refused = |why: String| DeviceError::Model { why };
        let (Artifact::Decoder(model), Some(limits)) = (artifact, fit.limits()) else {
            return Err(refused(format!("{} is not what was planned", artifact.what())));
        };
        let first = fit.replicas[seat.replica].devices.first();
        let core = first.and_then(|first| Some((u32::from(first.ordinal), Core::of(first)?)));
        let (ordinal, core) = core.ok_or_else(|| refused("a model without a core".to_owned()))?;
        let bundle = fit::open(model, core).map_err(|unfit| refused(unfit.to_string()))?;
        let begins = first_visible(&Environment::of_process());
        if begins != ordinal {
            let why = format!(
                "its cores begin at {ordinal}, and those of this process at {begins} ({VISIBLE}): let each copy \
                 have a process of its own (worker = auto)"
            );
            return Err(DeviceError::Library { library: "libnrt".to_owned(), why });
        }
        let runtime = Runtime::open(self.library.as_deref()).map_err(|error| failed(&error))?;
        let backend = NeuronBackend::open(&runtime, &bundle, limits.clone())?;
        Ok(Servable::Generate(Box::new(backend)))
    }

    /// The runtime reads them when it is initialised, and never again.
    fn environment(&self, fit: &Fit, seat: Seat) -> Vec<(&'static str, String)> {
        let cores = &fit.replicas[seat.replica].devices;
        let range = cores.first().zip(cores.last());
        let range = range.map(|(first, last)| format!("{}-{}", first.ordinal, last.ordinal));
        range.into_iter().map(|range| (VISIBLE, range)).collect()
    }

    /// They exchange within the vendor's runtime, which is one process's.
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
            "libnrt",
            "neuronx_cc",
        ]
    }

    fn readings(&self) -> Vec<Reading> {
        devices::readings(Path::new("/"), &Environment::of_process())
    }
}
