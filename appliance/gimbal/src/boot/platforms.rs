//! Every platform there is, made of the process's settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimbal_hal::{DeviceError, Platform};
use gimbal_onnx::{OnnxPlatform, OnnxSettings};
use gimbal_sim::{Cost, Reads, Script, SimPlatform, Time};

use crate::bundle::Bundle;
use crate::config::Process;

/// All of them, the preferred first.
pub(crate) fn platforms(process: &Process) -> Vec<Arc<dyn Platform>> {
    let set = process.onnxruntime.clone();
    let onnx = OnnxPlatform::new(OnnxSettings {
        library: Arc::new(move || library(set.as_deref())),
        packed_cache: process.packed_cache.clone(),
        threads: process.threads,
        kernels: process.kernels,
    });
    let mut all: Vec<Arc<dyn Platform>> = vec![Arc::new(onnx), Arc::new(simulator())];
    all.sort_by_key(|platform| platform.class());
    all
}

/// A device that answers with hashes, about as fast as a small CPU.
fn simulator() -> SimPlatform {
    SimPlatform::new(gimbal_sim::Config {
        vocab: 0,
        cost: Cost { step_us: 1000.0, row_us: 100.0, ..Cost::NONE },
        time: Time::Real,
        reads: Reads::All,
        script: Script::new(&[]),
    })
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
