//! This vendor as the hal sees it: probe, fit, open.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use gimbal_cpu::Cpu;
use gimbal_hal::{
    Artifact, Class, DeviceError, DeviceInfo, Fit, Host, KernelReport, Packed, Platform, Probe,
    Profile, Quantize, Servable, Tools, Unfit,
};
use gimbal_model::Model;

use crate::probe::NAME;
use crate::session;
use crate::step::{CpuBackend, Resources};

/// Finds libonnxruntime, when it is needed; `None` leaves it to the loader.
pub type Locate = Arc<dyn Fn() -> Result<Option<PathBuf>, DeviceError> + Send + Sync>;

/// CPUs through ONNX Runtime.
#[derive(Clone)]
pub struct OnnxPlatform {
    /// Where the library is.
    pub library: Locate,
    /// Folder for weights in the kernels' layout; `None` packs them in memory at every start.
    pub packed_cache: Option<PathBuf>,
    /// Threads that compute; `None` takes all the process may use.
    pub threads: Option<u32>,
}

impl fmt::Debug for OnnxPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { library: _, packed_cache, threads } = self;
        let mut out = f.debug_struct("OnnxPlatform");
        out.field("packed_cache", packed_cache).field("threads", threads).finish_non_exhaustive()
    }
}

impl OnnxPlatform {
    /// Threads that compute on that device.
    pub(crate) fn threads_on(&self, cpu: &DeviceInfo) -> u32 {
        self.threads.unwrap_or(cpu.cores).max(1)
    }
}

impl Platform for OnnxPlatform {
    fn name(&self) -> &'static str {
        NAME
    }

    fn class(&self) -> Class {
        Class::Host
    }

    fn probe(&self, host: &Host) -> Probe {
        Probe::Found(vec![crate::probe::cpu(host)])
    }

    fn fit(
        &self,
        devices: &[DeviceInfo],
        artifact: &Artifact,
        profile: &Profile,
    ) -> Result<Fit, Unfit> {
        let what = |what: &str| Unfit::Op { platform: NAME, what: what.to_owned() };
        let cpu = devices.first().ok_or_else(|| what("a model without a CPU device"))?;
        match artifact {
            Artifact::Decoder(model) => crate::fit::fit(cpu, model, profile),
            Artifact::Onnx(file) => Err(what(&format!(
                "{}: .onnx files are not served yet, only GGUF and safetensors of language models",
                file.path.display()
            ))),
            Artifact::Bundle(path) => Err(what(&format!(
                "{}: it was compiled for another kind of device",
                path.display()
            ))),
        }
    }

    fn open(
        &self,
        fit: &Fit,
        replica: usize,
        artifact: &Artifact,
    ) -> Result<Servable, DeviceError> {
        let Artifact::Decoder(model) = artifact else {
            let why = format!("{} is not what was planned", artifact.what());
            return Err(DeviceError::Model { why });
        };
        let placed = &fit.replicas[replica];
        let threads = placed.devices.first().map_or(1, |cpu| self.threads_on(cpu));
        let library = (self.library)()?;
        let resources = Resources {
            cpu: Cpu::new(threads as usize),
            library: library.as_deref(),
            packed_cache: self.packed_cache.as_deref(),
        };
        Ok(Servable::Generate(Box::new(CpuBackend::open(fit, model, resources)?)))
    }

    fn tools(&self) -> Option<&dyn Tools> {
        Some(self)
    }
}

impl Tools for OnnxPlatform {
    fn load(&self) -> Result<String, DeviceError> {
        let path = (self.library)()?;
        session::load(path.as_deref())?;
        Ok(path.map_or_else(|| session::LIBRARY.to_owned(), |path| path.display().to_string()))
    }

    fn pack(&self, fit: &Fit, artifact: &Artifact) -> Result<Packed, DeviceError> {
        let Artifact::Decoder(model) = artifact else {
            let why = format!("{} has no weights to pack", artifact.what());
            return Err(DeviceError::Model { why });
        };
        let cpu = fit.replicas.first().and_then(|placed| placed.devices.first());
        let threads = cpu.map_or(1, |cpu| self.threads_on(cpu));
        let refused = |why: String| DeviceError::Model { why: format!("packing: {why}") };
        let no_folder = || refused("no folder is named".to_owned());
        let folder = self.packed_cache.as_deref().ok_or_else(no_folder)?;
        let cpu = Cpu::new(threads as usize);
        gimbal_cpu::keep(model, fit.profile.quantize, folder, &cpu).map_err(refused)
    }

    fn packed_bytes(&self, model: &Model, quantize: Option<Quantize>) -> Option<u64> {
        let fused = gimbal_cpu::fuse(&model.graph).ok()?;
        Some(gimbal_cpu::packed_bytes(model, &fused, quantize, gimbal_cpu::lanes()))
    }

    fn measure(&self, threads: u32) -> std::io::Result<KernelReport> {
        gimbal_cpu::measure(threads)
    }
}
