//! This vendor as the hal sees it: probe, fit, open.

use std::path::Path;

use gimbal_hal::{DeviceError, DeviceInfo, Fit, Platform, Probe, Profile, Servable, Source, Unfit};
use gimbal_model::Model;

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
}

impl Platform for OnnxPlatform {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn probe(&self) -> Probe {
        Probe::Found(vec![crate::probe::cpu()])
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
