//! One instance type of the catalogue.

use serde::Deserialize;

use crate::Vendor;

/// What an instance type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name, without SageMaker's `ml.`.
    pub name: String,
    /// Hardware threads.
    pub vcpus: u32,
    /// Cores: vCPUs, halved where two share a core.
    pub cores: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Name of its CPU family.
    pub family: &'static str,
    /// Name of its processor, in the family's file.
    pub processor: String,
    /// Its accelerators, all alike.
    pub accelerators: Option<Accelerators>,
}

/// Accelerators of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerators {
    /// Who made them.
    pub vendor: Vendor,
    /// Their name: `A10G`, `Inferentia2`.
    pub kind: String,
    /// How many.
    pub count: u32,
    /// Memory of each.
    pub memory_bytes: u64,
}

/// The catalogue as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    pub(crate) accelerators: std::collections::BTreeMap<String, Kind>,
    pub(crate) series: std::collections::BTreeMap<String, Series>,
}

/// One kind of accelerator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kind {
    pub(crate) vendor: Maker,
    pub(crate) memory_mib: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Maker {
    Nvidia,
    Neuron,
}

/// Types that share a processor and a kind of accelerator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Series {
    pub(crate) processor: String,
    pub(crate) accelerator: Option<String>,
    pub(crate) types: std::collections::BTreeMap<String, Size>,
}

/// One line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    pub(crate) vcpus: u32,
    pub(crate) memory_gib: f64,
    #[serde(default)]
    pub(crate) accelerators: u32,
}
