//! This vendor as the hal sees it: probe, fit, open.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use gimbal_cpu::{Condition, Cpu, KernelChoice, Sensors};
use gimbal_hal::{
    Artifact, Class, DeviceError, DeviceId, DeviceInfo, Fit, Host, KernelReport, Packed, Platform,
    Probe, Profile, Quantize, Reading, Seat, Servable, Tools, Unfit,
};
use gimbal_model::Model;

use crate::probe::{DEVICE, NAME};
use crate::session;
use crate::step::{CpuBackend, Resources};

/// Finds libonnxruntime, when it is needed; `None` leaves it to the loader.
pub type Locate = Arc<dyn Fn() -> Result<Option<PathBuf>, DeviceError> + Send + Sync>;

/// Tells how much memory the process may have and how much of it is taken, in bytes; `None` where
/// nothing tells.
pub type MemoryNow = Arc<dyn Fn() -> Option<(u64, u64)> + Send + Sync>;

/// What the process's settings say to this platform.
#[derive(Clone)]
pub struct OnnxSettings {
    /// Where the library is.
    pub library: Locate,
    /// Folder for weights in the kernels' layout; `None` packs them in memory at every start.
    pub packed_cache: Option<PathBuf>,
    /// Threads that compute; `None` takes all the process may use.
    pub threads: Option<u32>,
    /// Which kernels compute.
    pub kernels: KernelChoice,
}

impl fmt::Debug for OnnxSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { library: _, packed_cache, threads, kernels } = self;
        let mut out = f.debug_struct("OnnxSettings");
        out.field("packed_cache", packed_cache).field("threads", threads);
        out.field("kernels", kernels).finish_non_exhaustive()
    }
}

/// CPUs through ONNX Runtime. Clones are the same platform.
#[derive(Clone)]
pub struct OnnxPlatform {
    settings: OnnxSettings,
    memory: Option<MemoryNow>,
    sensors: Arc<Sensors>,
    /// Made when the first model is opened, shared by all.
    cpu: Arc<Mutex<Option<Arc<Cpu>>>>,
}

impl fmt::Debug for OnnxPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxPlatform").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl OnnxPlatform {
    /// The platform as the settings want it. Readings tell no memory.
    #[must_use]
    pub fn new(settings: OnnxSettings) -> Self {
        Self { settings, memory: None, sensors: Arc::default(), cpu: Arc::default() }
    }

    /// The same, whose readings tell memory as the host counts it.
    #[must_use]
    pub fn with_memory(self, memory: MemoryNow) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// The threads and kernels that compute for all models; the first one's device says how many.
    fn cpu(&self, device: Option<&DeviceInfo>) -> Result<Arc<Cpu>, DeviceError> {
        // Nothing is half done where making them panicked.
        let mut shared = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cpu) = &*shared {
            return Ok(cpu.clone());
        }
        let threads = self.settings.threads.or(device.map(|cpu| cpu.cores)).unwrap_or(1).max(1);
        let choice = self.settings.kernels;
        let refused =
            |why| DeviceError::Model { why: format!("kernels = {}: {why}", choice.name()) };
        let (kernels, _) = choice.table().map_err(refused)?;
        let cpu = Arc::new(Cpu::new(threads as usize, kernels));
        *shared = Some(cpu.clone());
        Ok(cpu)
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
            Artifact::Decoder(model) => crate::fit::fit(cpu, model, profile, self.settings.kernels),
            Artifact::Onnx(file) => Err(what(&format!(
                "{}: .onnx files are not served yet, only GGUF and safetensors of language models",
                file.path.display()
            ))),
        }
    }

    fn open(&self, fit: &Fit, seat: Seat, artifact: &Artifact) -> Result<Servable, DeviceError> {
        let Artifact::Decoder(model) = artifact else {
            let why = format!("{} is not what was planned", artifact.what());
            return Err(DeviceError::Model { why });
        };
        let placed = &fit.replicas[seat.replica];
        let library = (self.settings.library)()?;
        let resources = Resources {
            cpu: self.cpu(placed.devices.first())?,
            library: library.as_deref(),
            packed_cache: self.settings.packed_cache.as_deref(),
        };
        Ok(Servable::Generate(Box::new(CpuBackend::open(fit, model, resources)?)))
    }

    fn settings(&self) -> &'static [&'static str] {
        &[
            "threads",
            "kernels",
            "onnxruntime",
            "packed_cache",
            "quantize",
            "kv_cache_dtype",
            "speculative",
        ]
    }

    fn tools(&self) -> Option<&dyn Tools> {
        Some(self)
    }

    /// The processor as anybody uses it: workers of this server count as well.
    fn readings(&self) -> Vec<Reading> {
        let (total, used) = self.memory.as_ref().and_then(|now| now()).unzip();
        let Condition { load, temperature, errors } = self.sensors.read();
        vec![Reading {
            device: DeviceId::new(NAME, DEVICE),
            memory_used_bytes: used,
            memory_total_bytes: total,
            load,
            temperature,
            errors,
        }]
    }
}

impl Tools for OnnxPlatform {
    fn load(&self) -> Result<String, DeviceError> {
        let path = (self.settings.library)()?;
        session::load(path.as_deref())?;
        Ok(path.map_or_else(|| session::LIBRARY.to_owned(), |path| path.display().to_string()))
    }

    fn pack(&self, fit: &Fit, artifact: &Artifact) -> Result<Packed, DeviceError> {
        let Artifact::Decoder(model) = artifact else {
            let why = format!("{} has no weights to pack", artifact.what());
            return Err(DeviceError::Model { why });
        };
        let cpu = self.cpu(fit.replicas.first().and_then(|placed| placed.devices.first()))?;
        let refused = |why: String| DeviceError::Model { why: format!("packing: {why}") };
        let no_folder = || refused("no folder is named".to_owned());
        let folder = self.settings.packed_cache.as_deref().ok_or_else(no_folder)?;
        gimbal_cpu::keep(model, fit.profile.quantize, folder, &cpu).map_err(refused)
    }

    fn packed_bytes(&self, model: &Model, quantize: Option<Quantize>) -> Option<u64> {
        let fused = gimbal_model::fuse::fuse(&model.graph).ok()?;
        let (kernels, _) = self.settings.kernels.table().ok()?;
        Some(gimbal_cpu::packed_bytes(model, &fused, quantize, kernels.packing()))
    }

    fn measure(&self, threads: u32) -> std::io::Result<KernelReport> {
        let (kernels, _) = self.settings.kernels.table().map_err(std::io::Error::other)?;
        gimbal_cpu::measure(&Cpu::new(threads as usize, kernels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_models_share_one_pool_of_threads() {
        let settings = OnnxSettings {
            library: Arc::new(|| Ok(None)),
            packed_cache: None,
            threads: Some(2),
            kernels: KernelChoice::Auto,
        };
        let platform = OnnxPlatform::new(settings.clone());
        let first = platform.cpu(None).expect("kernels there are");
        assert!(Arc::ptr_eq(&first, &platform.clone().cpu(None).expect("the same")));
        let other = OnnxPlatform::new(settings).cpu(None).expect("kernels there are");
        assert!(!Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn readings_are_of_the_one_device_and_tell_what_is_known() {
        let settings = OnnxSettings {
            library: Arc::new(|| Ok(None)),
            packed_cache: None,
            threads: None,
            kernels: KernelChoice::Auto,
        };
        let platform = OnnxPlatform::new(settings);
        let [reading] = &platform.readings()[..] else { panic!("one processor") };
        let memory = (reading.memory_used_bytes, reading.memory_total_bytes);
        assert_eq!(
            (reading.device.as_str(), memory, reading.load),
            ("onnx:cpu", (None, None), None)
        );
        let platform = platform.with_memory(Arc::new(|| Some((100, 30))));
        let [reading] = &platform.readings()[..] else { panic!("one processor") };
        let memory = (reading.memory_used_bytes, reading.memory_total_bytes);
        assert_eq!(memory, (Some(30), Some(100)));
    }
}
