//! Accelerators as the PCI bus shows them, which needs no driver, and whether a driver has them.
//!
//! That one computes is for its platform to say.

use std::fmt;

use crate::tree::Tree;

const NVIDIA: u32 = 0x10de;
const AMAZON: u32 = 0x1d0f;
/// First byte of a display controller's class.
const DISPLAY: u32 = 0x03;

/// Amazon's device numbers, name. **Source**: aws-neuron-driver `neuron_device.h`, `neuron_pci.c`.
const NEURON: [(u32, &str); 7] = [
    (0x7064, "Inferentia"),
    (0x7065, "Inferentia"),
    (0x7066, "Inferentia"),
    (0x7067, "Inferentia"),
    (0x7164, "Trainium"),
    (0x7264, "Inferentia2"),
    (0x7364, "Trainium2"),
];
/// NVIDIA's device numbers of the GPUs EC2 has. **Source**: the PCI ID database (pci.ids), as
/// `lspci -nn` prints it in published logs.
const GPUS: [(u32, &str); 10] = [
    (0x1eb8, "T4"),
    (0x20b0, "A100 40 GB"),
    (0x20b2, "A100 80 GB"),
    (0x2237, "A10G"),
    (0x26b9, "L40S"),
    (0x27b8, "L4"),
    (0x2330, "H100"),
    (0x2335, "H200"),
    (0x2901, "B200"),
    (0x3182, "B300"),
];

/// Who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// An NVIDIA GPU.
    Nvidia,
    /// Amazon's Inferentia or Trainium.
    Neuron,
}

/// One device on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// Address on the bus: `0000:00:1e.0`.
    pub address: String,
    /// Who made it.
    pub vendor: Vendor,
    /// PCI device number.
    pub device: u32,
    /// Its name, or its number where that is not known.
    pub name: String,
    /// Whether it could be used.
    pub state: State,
}

/// Whether a device could be used, as far as files tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A driver has it and there is a device file.
    Driven {
        /// The driver's version, where it says.
        version: Option<String>,
    },
    /// Present but out of reach.
    Unusable {
        /// What is missing.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl Vendor {
    /// The driver's name, `nvidia` or `neuron`: also of its module and device files.
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia",
            Self::Neuron => "neuron",
        }
    }

    fn install(self) -> &'static str {
        match self {
            Self::Nvidia => {
                "install the NVIDIA driver (package nvidia-open or an AWS Deep Learning AMI) and \
                 restart"
            }
            Self::Neuron => "install the package aws-neuronx-dkms and load it: modprobe neuron",
        }
    }

    fn pass(self) -> &'static str {
        match self {
            Self::Nvidia => {
                "give the container its GPUs: docker run --gpus all, with the NVIDIA Container \
                 Toolkit on the host"
            }
            Self::Neuron => "give the container its devices: docker run --device /dev/neuron0 …",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, vendor, name, state, .. } = self;
        let driver = vendor.driver();
        match state {
            State::Driven { version } => {
                let version = version.as_deref().unwrap_or("unknown");
                write!(f, "{driver} {name} at {address}: driver {version}")
            }
            State::Unusable { why, remedy } => {
                write!(f, "{driver} {name} at {address}: {why}; {remedy}")
            }
        }
    }
}

pub(crate) fn read(tree: Tree<'_>, in_container: bool) -> Vec<Accelerator> {
    let bus = "/sys/bus/pci/devices";
    let one = |address: String| {
        let id = |file: &str| tree.hex(&format!("{bus}/{address}/{file}"));
        let (vendor, device) = (id("vendor")?, id("device")?);
        let (vendor, names) = match vendor {
            NVIDIA if id("class")? >> 16 == DISPLAY => (Vendor::Nvidia, &GPUS[..]),
            AMAZON if NEURON.iter().any(|(n, _)| *n == device) => (Vendor::Neuron, &NEURON[..]),
            _ => return None,
        };
        let known = names.iter().find(|(n, _)| *n == device);
        let name = known.map_or_else(|| format!("device {device:#06x}"), |(_, n)| (*n).to_owned());
        let bound = tree.link_name(&format!("{bus}/{address}/driver"));
        let state = state(tree, vendor, bound.as_deref(), in_container);
        Some(Accelerator { address, vendor, device, name, state })
    };
    tree.names(bus).into_iter().filter_map(one).collect()
}

fn state(tree: Tree<'_>, vendor: Vendor, bound: Option<&str>, in_container: bool) -> State {
    let driver = vendor.driver();
    match bound {
        None => {
            let why = "present but driver missing".to_owned();
            return State::Unusable { why, remedy: vendor.install() };
        }
        Some(other) if other != driver => {
            let why = format!("present but taken by the driver {other}");
            return State::Unusable { why, remedy: vendor.install() };
        }
        Some(_) => {}
    }
    let is_node = |name: &String| {
        let number = name.strip_prefix(driver);
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    if !tree.names("/dev").iter().any(is_node) {
        let why = format!("driver loaded but no /dev/{driver}0");
        let remedy = if in_container { vendor.pass() } else { vendor.install() };
        return State::Unusable { why, remedy };
    }
    let module = tree.word(&format!("/sys/module/{driver}/version"));
    let version = module.or_else(|| {
        // `NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.20  Sun …`
        let text = tree.text(&format!("/proc/driver/{driver}/version"))?;
        let is_version =
            |w: &&str| w.contains('.') && w.split('.').all(|n| n.parse::<u32>().is_ok());
        text.split_whitespace().find(is_version).map(str::to_owned)
    });
    State::Driven { version }
}
