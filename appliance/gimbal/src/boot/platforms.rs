//! Every platform there is, made of the process's settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimbal_cuda::CudaPlatform;
use gimbal_hal::{DeviceError, Platform};
use gimbal_machine::Machine;
use gimbal_neuron::NeuronPlatform;
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
    let onnx = onnx.with_memory(Arc::new(|| Machine::memory_now(Path::new("/"))));
    let cuda = CudaPlatform { library: process.libcuda.clone() };
    let neuron = NeuronPlatform { library: process.libnrt.clone() };
    let simulation = Simulation::of(process.simulation.clone())?;
    let mut all: Vec<Arc<dyn Platform>> =
        vec![Arc::new(cuda), Arc::new(neuron), Arc::new(onnx), Arc::new(simulation)];
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

#[cfg(test)]
mod tests {
    use gimbal_hal::Probe;
    use gimbal_settings::{Facts, Given, Settings};

    use super::*;
    use crate::host::host;

    #[test]
    fn this_machine_s_processor_tells_how_it_is() {
        let settings = Settings::resolve(&Facts::default(), &Given::default());
        let process = Process::of(&settings.expect("nothing is said"));
        let all = platforms(&process).expect("no file is named");
        let cpu = all.iter().find(|platform| platform.name() == "onnx").expect("always there");
        let Probe::Found(found) = cpu.probe(&host()) else { panic!("this machine computes") };
        for round in 0..2 {
            let [reading] = &cpu.readings()[..] else { panic!("one processor") };
            assert_eq!(reading.device, found[0].id);
            let (used, total) = (reading.memory_used_bytes, reading.memory_total_bytes);
            let (used, total) = (used.expect("/proc tells"), total.expect("/proc tells"));
            assert!(0 < used && used <= total, "{used} of {total}");
            assert_eq!(total, found[0].memory_total_bytes);
            // From the second round on, if the first was long enough ago.
            assert!(round > 0 || reading.load.is_none(), "{:?}", reading.load);
            assert!(reading.load.is_none_or(|load| (0.0..=1.0).contains(&load)));
            assert!(reading.temperature.is_none_or(|celsius| celsius > 0.0));
        }
    }
}
