//! What the kernel tells of Neuron devices in files. Nothing is ever written: a write to a counter clears it.
//!
//! All paths begin at a root folder that the caller names. Next: `probe.rs`.
//!
//! **Source** of names and forms: `aws-neuron-driver` (`neuron_pci.c`, `neuron_cdev.c`, `neuron_sysfs_metrics.c`);
//! none was read of a real device.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// Amazon's vendor id.
const VENDOR: u32 = 0x1D0F;
/// Bytes of a file at most: attributes have a page.
const BYTES_MAX: u64 = 4096;
/// Entries of a folder at most.
const ENTRIES_MAX: usize = 65_536;

/// Devices of the PCI bus, whether or not there is a driver for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// Its address, such as `0000:00:1f.0`.
    pub address: String,
    /// Its device id.
    pub device: u32,
    /// Its memory node, if the kernel knows it.
    pub numa_node: Option<u32>,
}

/// A device as its driver tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverDevice {
    /// Its number: N of `/dev/neuronN`.
    pub number: u32,
    /// Physical cores; only root may read it.
    pub cores: Option<u32>,
    /// Neighbours; only root may read it.
    pub connected: Option<Vec<u32>>,
    /// The chip's name, such as `Inferentia2`. The architecture's type beside it says `v3` of Inferentia2 and is
    /// not read.
    pub name: Option<String>,
    /// There is a node for it in `/dev`.
    pub has_node: bool,
}

/// A process that has a device open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub command: String,
    /// The devices.
    pub devices: Vec<u32>,
}

/// How a device is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Percent of the most power, in the last minute.
    pub power: Option<Power>,
    /// Errors of memory that were not corrected, by name of the counter.
    pub ecc: BTreeMap<String, u64>,
    /// Memory of the host that the driver has for the device, by category.
    pub host_memory: BTreeMap<String, Memory>,
    /// Of each core, by number.
    pub cores: BTreeMap<u32, CoreReadings>,
}

/// Power in percent of the most, in the last minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// The mean.
    pub avg: f64,
}

/// Memory of one category, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use.
    pub present: u64,
    /// The most that was in use.
    pub peak: u64,
}

/// What is told of a core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreReadings {
    /// How executions ended, by what the driver calls it: names differ between drivers.
    pub status: BTreeMap<String, u64>,
    /// Device memory by category.
    pub memory: BTreeMap<String, Memory>,
    /// Other counters, such as `flop_count` and `nc_time_in_use`.
    pub other: BTreeMap<String, u64>,
}

/// Amazon's devices of the PCI bus, by address.
#[must_use]
pub fn pci(root: &Path) -> Vec<PciDevice> {
    let folder = root.join("sys/bus/pci/devices");
    let device = |address: String| {
        let id = |name: &str| {
            let text = text(&folder.join(&address).join(name))?;
            u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
        };
        let device = id("device").filter(|_| id("vendor") == Some(VENDOR))?;
        // -1 where the kernel does not know.
        let numa_node = number(&folder.join(&address).join("numa_node"));
        Some(PciDevice { address, device, numa_node })
    };
    names(&folder).into_iter().filter_map(device).collect()
}

/// Devices that the driver has, by number.
#[must_use]
pub fn devices(root: &Path) -> Vec<DriverDevice> {
    let folder = root.join("sys/devices/virtual/neuron_device");
    let device = |name: String| {
        let number: u32 = name.strip_prefix("neuron")?.parse().ok()?;
        let folder = folder.join(&name);
        let list = |text: String| {
            let parts = text.trim().split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()
        };
        Some(DriverDevice {
            number,
            cores: self::number(&folder.join("core_count")),
            connected: text(&folder.join("connected_devices")).and_then(list),
            name: text(&folder.join("info/architecture/device_name")).map(|t| t.trim().to_owned()),
            has_node: root.join("dev").join(&name).exists(),
        })
    };
    let mut devices: Vec<DriverDevice> = names(&folder).into_iter().filter_map(device).collect();
    devices.sort_by_key(|device| device.number);
    devices
}

/// The driver's version, if it is loaded and says so.
#[must_use]
pub fn driver_version(root: &Path) -> Option<String> {
    text(&root.join("sys/module/neuron/version")).map(|text| text.trim().to_owned())
}

/// What the firmware calls the machine: under EC2 the type of the instance.
#[must_use]
pub fn product(root: &Path) -> Option<String> {
    let text = text(&root.join("sys/devices/virtual/dmi/id/product_name"))?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Processes other than `pid` that have a device open, as far as this one may see them.
#[must_use]
pub fn holders(root: &Path, pid: u32) -> Vec<Holder> {
    let folder = root.join("proc");
    let holder = |name: String| {
        let other: u32 = name.parse().ok()?;
        let process = folder.join(&name);
        let files = process.join("fd");
        let device = |file: String| {
            let target = fs::read_link(files.join(file)).ok()?;
            target.to_str()?.strip_prefix("/dev/neuron")?.parse().ok()
        };
        let mut devices: Vec<u32> = names(&files).into_iter().filter_map(device).collect();
        devices.sort_unstable();
        devices.dedup();
        let command = text(&process.join("comm")).unwrap_or_default().trim().to_owned();
        (other != pid && !devices.is_empty()).then_some(Holder { pid: other, command, devices })
    };
    let mut holders: Vec<Holder> = names(&folder).into_iter().filter_map(holder).collect();
    holders.sort_by_key(|holder| holder.pid);
    holders
}

/// How a device is; what cannot be read is missing.
#[must_use]
pub fn readings(root: &Path, device: u32) -> Readings {
    let folder = root.join("sys/devices/virtual/neuron_device").join(format!("neuron{device}"));
    let stats = folder.join("stats");
    let hardware = names(&stats.join("hardware")).into_iter().filter_map(|name| {
        let count = counter(&stats.join("hardware").join(&name))?;
        Some((name, count))
    });
    let core = |name: String| {
        let number = name.strip_prefix("neuron_core")?.parse().ok()?;
        Some((number, core(&folder.join(&name))))
    };
    Readings {
        power: text(&stats.join("power/utilization")).as_deref().and_then(power),
        ecc: hardware.filter(|(name, _)| name.contains("ecc")).collect(),
        host_memory: memory(&stats.join("memory_usage/host_mem")),
        cores: names(&folder).into_iter().filter_map(core).collect(),
    }
}

fn core(folder: &Path) -> CoreReadings {
    let counters = |folder: &Path| {
        let read = |name: String| Some((name.clone(), counter(&folder.join(name))?));
        names(folder).into_iter().filter_map(read).collect()
    };
    CoreReadings {
        status: counters(&folder.join("stats/status")),
        memory: memory(&folder.join("stats/memory_usage/device_mem")),
        other: counters(&folder.join("stats/other_info")),
    }
}

/// Categories of memory, a folder each.
fn memory(folder: &Path) -> BTreeMap<String, Memory> {
    let read = |name: String| {
        let present = number(&folder.join(&name).join("present"))?;
        let peak = number(&folder.join(&name).join("peak")).unwrap_or(present);
        Some((name, Memory { present, peak }))
    };
    names(folder).into_iter().filter_map(read).collect()
}

/// A counter: a file, or a folder with what it has counted in all.
fn counter(path: &Path) -> Option<u64> {
    number(&path.join("total")).or_else(|| number(path))
}

/// `POWER_STATUS_VALID,<time>,<min>,<max>,<avg>`.
fn power(text: &str) -> Option<Power> {
    let parts: Vec<&str> = text.trim().split(',').map(str::trim).collect();
    let [status, _, min, max, avg] = parts.as_slice() else { return None };
    let percent = |text: &str| text.parse::<f64>().ok().filter(|percent| percent.is_finite());
    match *status == "POWER_STATUS_VALID" {
        true => Some(Power { min: percent(min)?, max: percent(max)?, avg: percent(avg)? }),
        false => None,
    }
}

fn number<T: std::str::FromStr>(path: &Path) -> Option<T> {
    text(path)?.trim().parse().ok()
}

/// A file's text, if it can be read and is one.
fn text(path: &Path) -> Option<String> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        fs::File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    read().ok()
}

/// What is in a folder, in order; nothing if it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut names: Vec<String> = entries.take(ENTRIES_MAX).filter_map(name).collect();
    names.sort_unstable();
    names
}
