//! What devices there are. A missing or broken driver is a reason, never an error.
//!
//! Next: `fit.rs`.

use std::path::Path;

use gimbal_hal::{DeviceId, DeviceInfo, Host, Probe};

use crate::driver::{self, Device, Facts, Missing};
use crate::images::images;

/// The platform's name.
pub(crate) const NAME: &str = "cuda";

/// Names the devices that NVIDIA's driver shows to a process, by number or UUID; all unless it is set.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// Loads the library and asks the driver; `set` is the setting `libcuda`.
pub(crate) fn probe(set: Option<&Path>, _: &Host) -> Probe {
    match driver::load(set) {
        // What a person has named must be there.
        Err(missing @ Missing::Nowhere { .. }) if set.is_none() => {
            return Probe::Absent { why: missing.to_string() };
        }
        Err(missing) => return Probe::Broken { why: missing.to_string() },
        Ok(_) => {}
    }
    let count = match driver::init() {
        Ok(0) => return Probe::Absent { why: hidden("the driver knows no device".to_owned()) },
        Ok(count) => count,
        Err(why) if why.contains("CUDA_ERROR_NO_DEVICE") => {
            return Probe::Absent { why: hidden(why) };
        }
        Err(why) => return Probe::Broken { why },
    };
    let (mut found, mut told) = (Vec::new(), Vec::new());
    for ordinal in 0..count {
        match device(ordinal) {
            Ok(info) => found.push(info),
            Err(why) => told.push(format!("device {ordinal}: {why}")),
        }
    }
    // One that cannot be used hides none that can; the log of the probe tells of it.
    match found.is_empty() {
        true => Probe::Broken { why: told.join("; ") },
        false => Probe::Found(found),
    }
}

/// Why there is none, with what the driver has been told to hide.
fn hidden(why: String) -> String {
    match std::env::var(VISIBLE) {
        Ok(list) => format!("{why}; {VISIBLE} = {list:?} hides all others from the driver"),
        Err(_) => why,
    }
}

/// A device on which our kernels are loaded once, to see that they can be.
fn device(ordinal: u16) -> Result<DeviceInfo, String> {
    let facts = driver::facts(ordinal).map_err(|error| driver::said("cuDeviceGet", error))?;
    images(facts.capability, facts.driver)
        .map_err(|refused| format!("{}: {refused}", facts.name))?;
    let opened = Device::open(ordinal).map_err(|error| error.to_string())?;
    let (free, total) = opened.memory_now().map_err(|error| error.to_string())?;
    Ok(info(ordinal, &facts, opened.image(), [free, total]))
}

/// Its name as long as the machine has it.
pub(crate) fn id(facts: &Facts) -> DeviceId {
    DeviceId::new(NAME, &facts.uuid)
}

fn info(ordinal: u16, facts: &Facts, image: &str, [free, total]: [u64; 2]) -> DeviceInfo {
    let [major, minor] = facts.driver;
    let [capability, revision] = facts.capability;
    DeviceInfo {
        platform: NAME.to_owned(),
        id: id(facts),
        ordinal,
        name: facts.name.clone(),
        driver: Some(format!("CUDA {major}.{minor}")),
        memory_total_bytes: total,
        memory_bytes: free,
        memory_why: format!("free of {total} bytes; others have {}", total.saturating_sub(free)),
        cores: facts.multiprocessors,
        numa_node: None,
        features: vec![format!("sm_{capability}{revision}"), image.to_owned()],
    }
}
