//! Logical cores as the hal's devices: those of the machine, of an emulated runtime, or of an instance type.
//!
//! Next: `fit.rs`.

use std::path::Path;

use gimbal_hal::{DeviceId, DeviceInfo, Probe, Reading};

use crate::NAME;
use crate::probe::{self, Chip, Device, Environment, Facts, Reason};
use crate::runtime::{Installed, Runtime, RuntimeError};
use crate::sysfs;

/// What a device says of itself beside the hal's fields, in `DeviceInfo::features`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Core {
    pub(crate) chip: Chip,
    /// Physical cores of it.
    pub(crate) lnc: u32,
    /// The runtime's version, where it is installed.
    pub(crate) runtime: Option<[u64; 2]>,
}

impl Core {
    fn features(self) -> Vec<String> {
        let runtime = self.runtime.map(|[major, minor]| format!("runtime={major}.{minor}"));
        [self.chip.name().to_owned(), format!("lnc={}", self.lnc)]
            .into_iter()
            .chain(runtime)
            .collect()
    }

    /// What a device of ours says; none of another's.
    pub(crate) fn of(device: &DeviceInfo) -> Option<Self> {
        let said = |key: &str| device.features.iter().find_map(|word| word.strip_prefix(key));
        let version = |text: &str| {
            let (major, minor) = text.split_once('.')?;
            Some([major.parse().ok()?, minor.parse().ok()?])
        };
        Some(Self {
            chip: device.features.iter().find_map(|word| Chip::by_name(word))?,
            lnc: said("lnc=")?.parse().ok()?,
            runtime: said("runtime=").and_then(version),
        })
    }
}

/// Looks for the cores that this process may use; `set` is the setting `libnrt`.
pub(crate) fn probe(set: Option<&Path>, root: &Path, environment: &Environment) -> Probe {
    let broken = |why: String| Probe::Broken { why };
    // An emulated machine has no files. A library that a person has named is loaded before them for that alone.
    if let Some(emulator) = set.and_then(|set| Installed::find(Some(set)).ok())
        && emulator.is_emulated
    {
        return match emulated(&emulator.path, environment) {
            Ok(found) => Probe::Found(found),
            Err(why) => broken(why),
        };
    }
    let facts = match probe::probe(root, environment) {
        Ok(facts) => facts,
        Err(why @ Reason::Absent { .. }) => return Probe::Absent { why: why.to_string() },
        Err(why) => return broken(why.to_string()),
    };
    let installed = match Installed::find(set) {
        Ok(installed) => installed,
        Err(why) => {
            let (count, chip) = (facts.devices.len(), facts.chip);
            return broken(format!(
                "{count} × {chip} with a driver, and no runtime: {why}; install aws-neuronx-runtime-lib, \
                 or name libnrt.so.1 by --libnrt"
            ));
        }
    };
    Probe::Found(of_machine(&facts, &installed))
}

/// Cores by what the machine's files say.
fn of_machine(facts: &Facts, installed: &Installed) -> Vec<DeviceInfo> {
    let core = Core { chip: facts.chip, lnc: facts.lnc, runtime: Some(installed.version) };
    let [major, minor] = installed.version;
    let driver = facts.driver.as_deref().unwrap_or("of a version that it does not tell");
    let driver = format!("driver {driver}, libnrt {major}.{minor}");
    let cores = facts.devices.iter().flat_map(|device| {
        let count = (device.cores / facts.lnc).max(1);
        (0..count).map(move |number| (device, number, count))
    });
    let info = |(ordinal, (device, number, count)): (u32, (&Device, u32, u32))| {
        let (bytes, node) = (device.memory_bytes, device.number);
        info(
            core,
            ordinal,
            &format!("nd{node}/nc{number}"),
            Told {
                name: core.chip.product().to_owned(),
                driver: Some(driver.clone()),
                memory_bytes: bytes / u64::from(count),
                memory_why: format!("a part of {count} of {bytes} bytes of /dev/neuron{node}"),
            },
        )
    };
    let visible = |(ordinal, _): &(u32, _)| facts.visible.contains(ordinal);
    (0..).zip(cores).filter(visible).map(info).collect()
}

/// Cores of an emulated runtime, by what it says: they are taken for as long as that needs.
fn emulated(path: &Path, environment: &Environment) -> Result<Vec<DeviceInfo>, String> {
    let said = |error: RuntimeError| error.to_string();
    let runtime = Runtime::open(Some(path)).map_err(said)?;
    let chip = runtime.chip().map_err(said)?.ok_or("an emulated machine without a chip")?;
    let lnc = probe::lnc(chip, environment).map_err(|why| why.to_string())?;
    let core = Core { chip, lnc, runtime: Some(runtime.version()) };
    let first = probe::first_visible(environment);
    let info = |number: u32| {
        let memory = runtime.memory(number).map_err(said)?;
        let (used, bytes) = memory.ok_or("an emulated core that tells no memory")?;
        let ordinal = first + number;
        Ok(info(
            core,
            ordinal,
            &format!("nc{ordinal}"),
            Told {
                name: format!("{} (EMULATED)", chip.product()),
                driver: Some(runtime.detail()),
                memory_bytes: bytes - used.min(bytes),
                memory_why: format!("an emulated core of {bytes} bytes, {used} in use"),
            },
        ))
    };
    (0..runtime.cores()).map(info).collect()
}

/// The cores of an instance type that nobody has probed.
#[must_use]
pub fn planned(instance: &str, chip: Chip, count: u32) -> Vec<DeviceInfo> {
    let core = Core { chip, lnc: chip.lnc_max(), runtime: None };
    let (cores, gib) = chip.size();
    let bytes = gib << 30;
    let each = cores / core.lnc;
    let info = |ordinal: u32| {
        info(
            core,
            ordinal,
            &format!("{instance}/nc{ordinal}"),
            Told {
                name: format!("{} of {instance}", chip.product()),
                driver: None,
                memory_bytes: bytes / u64::from(each),
                memory_why: format!(
                    "planned from the catalogue, not probed; a part of {each} of {bytes} bytes of {chip}"
                ),
            },
        )
    };
    (0..count * each).map(info).collect()
}

/// How the machine's cores are now, as far as its files tell; errors of memory are those of the whole device.
pub(crate) fn readings(root: &Path, environment: &Environment) -> Vec<Reading> {
    let Ok(Facts { devices, lnc, .. }) = probe::probe(root, environment) else { return Vec::new() };
    let of_device = |device: &Device| {
        let (read, node) = (sysfs::readings(root, device.number), device.number);
        let count = (device.cores / lnc).max(1);
        let errors = (!read.ecc.is_empty()).then(|| read.ecc.values().sum());
        let total = device.memory_bytes / u64::from(count);
        let reading = move |number: u32| {
            let physical = read.cores.range(number * lnc..(number + 1) * lnc);
            let used: Vec<u64> =
                physical.flat_map(|(_, core)| core.memory.values().map(|m| m.present)).collect();
            Reading {
                device: DeviceId::new(NAME, &format!("nd{node}/nc{number}")),
                memory_used_bytes: (!used.is_empty()).then(|| used.iter().sum()),
                memory_total_bytes: Some(total),
                load: None,
                temperature: None,
                errors,
            }
        };
        (0..count).map(reading).collect::<Vec<_>>()
    };
    devices.iter().flat_map(of_device).collect()
}

/// What is told of a core beside what it is.
struct Told {
    name: String,
    driver: Option<String>,
    memory_bytes: u64,
    memory_why: String,
}

fn info(core: Core, ordinal: u32, stable: &str, told: Told) -> DeviceInfo {
    DeviceInfo {
        platform: NAME.to_owned(),
        id: DeviceId::new(NAME, stable),
        ordinal: u16::try_from(ordinal).unwrap_or(u16::MAX),
        name: told.name,
        driver: told.driver,
        memory_total_bytes: told.memory_bytes,
        memory_bytes: told.memory_bytes,
        memory_why: told.memory_why,
        cores: core.lnc,
        numa_node: None,
        features: core.features(),
    }
}
