//! Which Neuron devices a machine has, or why none can be used: told by files alone, before any library is
//! loaded. A pure function of a tree of files and what the environment says.
//!
//! Next: `neff.rs`.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sysfs::{self, DriverDevice, Holder, PciDevice};

/// Says how many physical cores a logical one has.
const LNC: &str = "NEURON_LOGICAL_NC_CONFIG";
/// Says which logical cores a process may take, one or a range.
pub(crate) const VISIBLE: &str = "NEURON_RT_VISIBLE_CORES";
/// Says how many, from the first one on; the list wins.
const COUNT: &str = "NEURON_RT_NUM_CORES";

/// A chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chip {
    /// Inferentia, the first: another compiler and another runtime.
    Inf1,
    /// Inferentia2.
    Inf2,
    /// Trainium, the first.
    Trn1,
    /// Trainium2.
    Trn2,
    /// Trainium3.
    Trn3,
}

/// What the environment says, and who asks.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NEURON_LOGICAL_NC_CONFIG`.
    pub lnc: Option<String>,
    /// `NEURON_RT_VISIBLE_CORES`.
    pub visible_cores: Option<String>,
    /// `NEURON_RT_NUM_CORES`.
    pub core_count: Option<String>,
    /// This process, which holds no device against itself.
    pub pid: u32,
}

impl Environment {
    /// What this process's says.
    #[must_use]
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok();
        Self {
            lnc: variable(LNC),
            visible_cores: variable(VISIBLE),
            core_count: variable(COUNT),
            pid: std::process::id(),
        }
    }
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The chip; a machine has one kind.
    pub chip: Chip,
    /// What the firmware calls the machine, such as `inf2.xlarge`.
    pub product: Option<String>,
    /// The driver's version, if it tells it.
    pub driver: Option<String>,
    /// Its devices, by number: those that have a node.
    pub devices: Vec<Device>,
    /// Physical cores of a logical one.
    pub lnc: u32,
    /// Logical cores of all devices.
    pub cores: u32,
    /// Those that the environment lets this process see.
    pub visible: Range<u32>,
    /// What a person should know, though it stops nothing.
    pub notes: Vec<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// N of `/dev/neuronN`.
    pub number: u32,
    /// Physical cores.
    pub cores: u32,
    /// They were read, and not taken from what is known of the chip.
    pub is_read: bool,
    /// Bytes of its memory, by what is known of the chip.
    pub memory_bytes: u64,
    /// Neighbours, if they can be read.
    pub connected: Option<Vec<u32>>,
    /// Processes that have it open.
    pub holders: Vec<u32>,
}

/// Why there is nothing to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No device of the bus is one.
    #[error("no Neuron device on the PCI bus{}", named(.product.as_deref()))]
    Absent {
        /// The machine's name.
        product: Option<String>,
    },
    /// Its kind is not supported.
    #[error("{count} × {chip}: {}", .chip.unsupported())]
    Unsupported {
        /// Which.
        chip: Chip,
        /// How many.
        count: usize,
    },
    /// There are two kinds, which no instance has.
    #[error("{one} and {other} on one PCI bus: no instance has both")]
    Mixed {
        /// One.
        one: Chip,
        /// The other.
        other: Chip,
    },
    /// The chip is there, its driver not.
    #[error(
        "{count} × {chip} on the PCI bus, and no driver: install aws-neuronx-dkms and load it \
         (modprobe neuron)"
    )]
    NoDriver {
        /// Which.
        chip: Chip,
        /// How many.
        count: usize,
    },
    /// The driver is there, its nodes not.
    #[error(
        "{count} × {chip} with a driver, and none of /dev/neuron0 to /dev/neuron{}: start the \
         container with --device=/dev/neuron0 and so on, or ask Kubernetes for \
         aws.amazon.com/neuron",
        .count - 1
    )]
    NoNodes {
        /// Which.
        chip: Chip,
        /// How many.
        count: usize,
    },
    /// The environment says something that cannot be.
    #[error("{variable} = {value:?}: {why}")]
    Environment {
        /// Which variable.
        variable: &'static str,
        /// What it says.
        value: String,
        /// What is wrong.
        why: String,
    },
}

impl Chip {
    /// The chip of a PCI device id.
    ///
    /// **Source**: `aws-neuron-driver`, `neuron_device.h`; Trainium3 from the text of a newer driver.
    #[must_use]
    pub const fn of_pci(device: u32) -> Option<Self> {
        match device {
            0x7064..=0x7067 => Some(Self::Inf1),
            0x7164 => Some(Self::Trn1),
            0x7264 => Some(Self::Inf2),
            0x7364 => Some(Self::Trn2),
            0x7564 | 0x7565 => Some(Self::Trn3),
            _ => None,
        }
    }

    /// What neuronx-cc and instances call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inf1 => "inf1",
            Self::Inf2 => "inf2",
            Self::Trn1 => "trn1",
            Self::Trn2 => "trn2",
            Self::Trn3 => "trn3",
        }
    }

    /// The chip of a name that [`Chip::name`] or [`Chip::product`] gives.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let all = [Self::Inf1, Self::Inf2, Self::Trn1, Self::Trn2, Self::Trn3];
        all.into_iter().find(|chip| [chip.name(), chip.product()].contains(&name))
    }

    /// What AWS calls it.
    #[must_use]
    pub const fn product(self) -> &'static str {
        match self {
            Self::Inf1 => "Inferentia",
            Self::Inf2 => "Inferentia2",
            Self::Trn1 => "Trainium",
            Self::Trn2 => "Trainium2",
            Self::Trn3 => "Trainium3",
        }
    }

    /// It can be compiled for and run on, as far as is known.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        matches!(self, Self::Inf2 | Self::Trn1 | Self::Trn2)
    }

    /// Physical cores of a device, and GiB of its memory.
    ///
    /// **Source**: AWS Neuron's documentation, `about-neuron/arch/neuron-hardware`.
    pub(crate) const fn size(self) -> (u32, u64) {
        match self {
            Self::Inf1 => (4, 8),
            Self::Inf2 | Self::Trn1 => (2, 32),
            Self::Trn2 => (8, 96),
            Self::Trn3 => (8, 144),
        }
    }

    /// Physical cores that a logical one may have at most.
    #[must_use]
    pub const fn lnc_max(self) -> u32 {
        match self {
            Self::Inf1 | Self::Inf2 | Self::Trn1 => 1,
            Self::Trn2 | Self::Trn3 => 2,
        }
    }

    /// Why it cannot be used.
    #[must_use]
    pub const fn unsupported(self) -> &'static str {
        match self {
            Self::Inf1 => {
                "its compiler and runtime are others (neuron-cc, no longer supported by the Neuron SDK), \
                 and it is not used; the processor is"
            }
            Self::Trn3 => {
                "its sizes and its compiler's target were not looked at yet, and it is not used; the \
                 processor is"
            }
            Self::Inf2 | Self::Trn1 | Self::Trn2 => "it is supported",
        }
    }
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Looks at a tree of files, of which `root` is `/`.
///
/// # Errors
/// There is nothing to use, with what a person can do about it.
pub fn probe(root: &Path, environment: &Environment) -> Result<Facts, Reason> {
    let product = sysfs::product(root);
    let pci = sysfs::pci(root);
    let (chip, count) = chip(&pci, product.as_ref())?;
    if !chip.is_supported() {
        return Err(Reason::Unsupported { chip, count });
    }
    let lnc = lnc(chip, environment)?;
    let known = sysfs::devices(root);
    if known.is_empty() {
        return Err(Reason::NoDriver { chip, count });
    }
    let (usable, hidden): (Vec<DriverDevice>, Vec<DriverDevice>) =
        known.into_iter().partition(|device| device.has_node);
    if usable.is_empty() {
        return Err(Reason::NoNodes { chip, count: hidden.len() });
    }
    let holders = sysfs::holders(root, environment.pid);
    let devices: Vec<Device> = usable.iter().map(|d| device(chip, d, &holders)).collect();
    let cores = devices.iter().map(|device| device.cores / lnc).sum();
    let visible = visible(cores, environment)?;
    let mut notes = notes(chip, product.as_deref(), &pci, &usable, &hidden);
    notes.extend(holders.iter().map(busy));
    let driver = sysfs::driver_version(root);
    Ok(Facts { chip, product, driver, devices, lnc, cores, visible, notes })
}

fn named(product: Option<&str>) -> String {
    product.map_or_else(String::new, |name| format!(" (the machine is {name})"))
}

/// The kind of the bus's devices, and how many there are.
fn chip(pci: &[PciDevice], product: Option<&String>) -> Result<(Chip, usize), Reason> {
    let chips: Vec<Chip> = pci.iter().filter_map(|device| Chip::of_pci(device.device)).collect();
    let Some(one) = chips.first().copied() else {
        return Err(Reason::Absent { product: product.cloned() });
    };
    match chips.iter().copied().find(|other| *other != one) {
        Some(other) => Err(Reason::Mixed { one, other }),
        None => Ok((one, chips.len())),
    }
}

fn device(chip: Chip, device: &DriverDevice, holders: &[Holder]) -> Device {
    let (cores, gib) = chip.size();
    let held = holders.iter().filter(|holder| holder.devices.contains(&device.number));
    let read = device.cores.filter(|cores| (1..=64).contains(cores));
    Device {
        number: device.number,
        cores: read.unwrap_or(cores),
        is_read: read.is_some(),
        memory_bytes: gib << 30,
        connected: device.connected.clone(),
        holders: held.map(|holder| holder.pid).collect(),
    }
}

/// Physical cores of a logical one: Trainium2 has two unless it is told otherwise.
pub(crate) fn lnc(chip: Chip, environment: &Environment) -> Result<u32, Reason> {
    let Some(value) = &environment.lnc else { return Ok(chip.lnc_max()) };
    match value.trim().parse() {
        Ok(lnc) if (1..=chip.lnc_max()).contains(&lnc) => Ok(lnc),
        _ => Err(Reason::Environment {
            variable: LNC,
            value: value.clone(),
            why: match chip.lnc_max() {
                1 => format!("it must be 1 on {chip}"),
                _ => format!("it must be 1 or 2 on {chip}"),
            },
        }),
    }
}

/// The first logical core of this process, where what the environment says has been checked.
pub(crate) fn first_visible(environment: &Environment) -> u32 {
    let list = environment.visible_cores.as_deref().unwrap_or_default().trim();
    list.split('-').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// The logical cores that this process may take.
fn visible(cores: u32, environment: &Environment) -> Result<Range<u32>, Reason> {
    let refuse = |variable, value: &str, why| {
        Err(Reason::Environment { variable, value: value.to_owned(), why })
    };
    if let Some(value) = &environment.visible_cores {
        let (first, last) = value.trim().split_once('-').unwrap_or((value.trim(), value.trim()));
        return match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last < cores => Ok(first..last + 1),
            (Ok(_), Ok(_)) => refuse(VISIBLE, value, format!("there are cores 0 to {}", cores - 1)),
            _ => refuse(VISIBLE, value, "it is no core and no range such as 0-3".to_owned()),
        };
    }
    if let Some(value) = &environment.core_count {
        return match value.trim().parse::<u32>() {
            Ok(end) if (1..=cores).contains(&end) => Ok(0..end),
            _ => refuse(COUNT, value, format!("it must be 1 to {cores}")),
        };
    }
    Ok(0..cores)
}

fn notes(
    chip: Chip,
    product: Option<&str>,
    pci: &[PciDevice],
    usable: &[DriverDevice],
    hidden: &[DriverDevice],
) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(product) = product.filter(|product| !product.starts_with(chip.name())) {
        notes.push(format!("the machine calls itself {product}, and its devices are of {chip}"));
    }
    if !hidden.is_empty() {
        let numbers: Vec<String> = hidden.iter().map(|device| device.number.to_string()).collect();
        notes.push(format!("no node in /dev for devices {}", numbers.join(", ")));
    }
    let driven = usable.len() + hidden.len();
    let there = pci.iter().filter(|device| Chip::of_pci(device.device).is_some()).count();
    if driven != there {
        notes.push(format!("{there} devices on the PCI bus, and the driver has {driven}"));
    }
    if usable.iter().any(|device| device.cores.is_none()) {
        let (cores, _) = chip.size();
        notes.push(format!("cores of a device by what is known of {chip}: {cores}"));
    }
    notes
}

/// Devices are shared by processes, cores are not; which cores it took only the runtime knows.
fn busy(holder: &Holder) -> String {
    let devices: Vec<String> = holder.devices.iter().map(|d| format!("/dev/neuron{d}")).collect();
    format!(
        "process {} ({}) has {} open: cores that it took cannot be had before it ends; give each \
         process its own by NEURON_RT_VISIBLE_CORES",
        holder.pid,
        holder.command,
        devices.join(", ")
    )
}
