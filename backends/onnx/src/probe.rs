//! What CPU this is. What of it the process may use is the host's, read elsewhere. Decides nothing.

use gimbal_hal::{DeviceId, DeviceInfo, Host};

/// The platform's name.
pub(crate) const NAME: &str = "onnx";

/// The one device's name.
pub(crate) const DEVICE: &str = "cpu";

/// The CPU as the one device of this platform.
pub(crate) fn cpu(host: &Host) -> DeviceInfo {
    DeviceInfo {
        platform: NAME.to_owned(),
        id: DeviceId::new(NAME, DEVICE),
        ordinal: 0,
        name: host.cpu.clone(),
        driver: None,
        memory_total_bytes: host.memory_total_bytes,
        memory_bytes: host.memory_bytes,
        memory_why: host.memory_why.clone(),
        cores: host.cores,
        numa_node: None,
        features: host.features.clone(),
    }
}
