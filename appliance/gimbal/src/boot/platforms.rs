//! Every platform there is, made of the process's settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimbal_hal::{DeviceError, Platform};
use gimbal_onnx::{OnnxPlatform, OnnxSettings};

use super::simulation::Simulation;
use crate::bundle::Bundle;
use crate::config::Process;
use crate::failure::Failure;

/// All of them, the preferred first.
///
/// # Errors
/// The file of simulated devices cannot be read.
pub(crate) fn platforms(process: &Process) -> Result<Vec<Arc<dyn Platform>>, Failure> {
    let set = process.onnxruntime.clone();
    let onnx = OnnxPlatform::new(OnnxSettings {
        library: Arc::new(move || library(set.as_deref())),
        packed_cache: process.packed_cache.clone(),
        threads: process.threads,
        kernels: process.kernels,
    });
    let mut all: Vec<Arc<dyn Platform>> =
        vec![Arc::new(onnx), Arc::new(Simulation::of(process.simulation.clone())?)];
    all.sort_by_key(|platform| platform.class());
    Ok(all)
}

/// Where ONNX Runtime is: as set, beside the binary, appended to it; `None` leaves it to the loader.
fn library(set: Option<&Path>) -> Result<Option<PathBuf>, DeviceError> {
    if let Some(path) = set {
        return Ok(Some(path.to_owned()));
    }
    let exe = std::env::current_exe().ok();
    let beside = exe.as_deref().and_then(Path::parent).map(|f| f.join("libonnxruntime.so"));
    if let Some(path) = beside.filter(|path| path.is_file()) {
        return Ok(Some(path));
    }
    let Some(bundle) = Bundle::of_this_binary() else { return Ok(None) };
    bundle.library().map_err(|failure| DeviceError::Library {
        library: "the appended libonnxruntime.so".to_owned(),
        why: failure.to_string(),
    })
}
