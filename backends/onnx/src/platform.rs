//! This vendor as the hal sees it: probe, fit, open.

use std::path::{Path, PathBuf};

use gimbal_hal::{
    DeviceError, DeviceInfo, Fit, Host, Platform, Probe, Profile, Quantize, Servable, Source, Unfit,
};
use gimbal_model::Model;

use crate::measure::KernelReport;
use crate::step::CpuBackend;

/// CPUs through ONNX Runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnnxPlatform;

impl OnnxPlatform {
    /// Loads ONNX Runtime, if that has not happened, and nothing else.
    ///
    /// # Errors
    /// The library is missing, too old, or does not start.
    pub fn load(&self, library: Option<&Path>) -> Result<(), DeviceError> {
        crate::session::load(library)
    }

    /// Writes the weights in the kernels' layout to the profile's cache, unless they are there.
    /// Returns the file, its bytes, and whether it was there.
    ///
    /// # Errors
    /// No cache is named, it cannot be written, or the model cannot be computed.
    pub fn pack(&self, fit: &Fit, model: &Model) -> Result<(PathBuf, u64, bool), DeviceError> {
        crate::store::keep(fit, model)
    }

    /// Measures the kernels and what they are bound by, for some seconds.
    ///
    /// # Errors
    /// There is no memory for the weights that stream past.
    pub fn measure(&self, threads: u32) -> std::io::Result<KernelReport> {
        crate::measure::measure(threads)
    }

    /// Bytes of the weights in the kernels' layout, where the model can be computed.
    #[must_use]
    pub fn packed_bytes(&self, model: &Model, quantize: Option<Quantize>) -> Option<u64> {
        let fused = crate::lower::fuse(&model.graph).ok()?;
        Some(crate::store::packed_bytes(model, &fused, quantize))
    }
}

impl Platform for OnnxPlatform {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn probe(&self, host: &Host) -> Probe {
        Probe::Found(vec![crate::probe::cpu(host)])
    }

    fn fit(&self, devices: &[DeviceInfo], model: &Model, profile: &Profile) -> Result<Fit, Unfit> {
        let cpu = devices.first().ok_or_else(|| Unfit::Op {
            platform: "onnx",
            what: "a model without a CPU device".to_owned(),
        })?;
        crate::fit::fit(cpu, model, profile)
    }

    fn open(&self, fit: &Fit, source: &Source) -> Result<Servable, DeviceError> {
        match source {
            Source::Graph(model) => Ok(Servable::Generate(Box::new(CpuBackend::open(fit, model)?))),
            Source::Onnx(path) => Err(DeviceError::Model {
                why: format!("{}: serving .onnx files is not supported yet", path.display()),
            }),
        }
    }
}
