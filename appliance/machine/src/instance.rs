//! One instance type of the catalogue.

use serde::Deserialize;

use crate::{Fact, Vendor};

/// What an instance type has.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct Accelerators {
    /// Who made them.
    pub vendor: Vendor,
    /// Their name: `A10G`, `Inferentia2`.
    pub kind: String,
    /// How many.
    pub count: u32,
    /// Memory of each.
    pub memory_bytes: u64,
    /// What is known of each, where they are GPUs.
    pub gpu: Option<Gpu>,
    /// What is known of each, where they are Neuron chips that some compiler of today compiles for.
    pub chip: Option<Chip>,
}

/// Facts of one Inferentia or Trainium chip. Peaks: no program reaches them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chip {
    /// Physical NeuronCores.
    pub cores: Fact<u32>,
    /// Memory bandwidth in GB/s.
    pub memory_gb_s: Fact<f64>,
    /// Dense products of bf16, in 10^12 FLOP/s.
    pub bf16_tflop_s: Fact<f64>,
}

/// Facts of one GPU. Peaks: no program reaches them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Compute capability: `86` is 8.6.
    pub capability: Fact<u32>,
    /// Memory that CUDA says it has, in GiB; the driver keeps the rest.
    pub cuda_gib: Fact<f64>,
    /// Memory bandwidth in GB/s.
    pub memory_gb_s: Fact<f64>,
    /// Dense products of f16, and from 8.0 on of bf16, in 10^12 FLOP/s.
    pub f16_tflop_s: Fact<f64>,
    /// Multiprocessors.
    pub multiprocessors: Fact<u32>,
}

impl Gpu {
    /// FLOP for each byte of its memory's bandwidth: from as many rows on a product of 16-bit weights is
    /// bound by arithmetic, since a weight of 2 bytes costs a row 2 FLOP.
    #[must_use]
    pub fn compute_bound_rows(&self) -> Option<f64> {
        Some(self.f16_tflop_s.value()? * 1e3 / self.memory_gb_s.value()?)
    }
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
    pub(crate) gpu: Option<Gpu>,
    pub(crate) chip: Option<Chip>,
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
    /// Other series of the same sizes and processor.
    #[serde(default)]
    pub(crate) alike: Vec<String>,
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
