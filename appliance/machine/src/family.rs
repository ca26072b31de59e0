//! A family of machines with one kind of processor: facts with sources, and settings.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::embedded::{self, File};
use crate::{KernelTable, Machine};

/// Bytes a weight has in the packed form of Q4_1: 4 bits, and 4 bytes of scale and offset a block of
/// 32.
pub const WEIGHT_BYTES: f64 = 0.625;

/// A family.
#[derive(Clone, Debug)]
pub struct Family {
    /// Name of its file: `graviton3`.
    pub name: &'static str,
    /// One sentence.
    pub about: String,
    /// Its processors, by name.
    pub processors: BTreeMap<String, Processor>,
    matches: Match,
    fragments: Vec<File>,
}

/// A fact and where it is from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact<T> {
    value: Value<T>,
    /// Where it is from, or what was looked for.
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Value<T> {
    Unknown(Unknown),
    Known(T),
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    Unknown,
}

impl<T> Fact<T> {
    /// The value; `None` where it is unknown.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match &self.value {
            Value::Known(value) => Some(value),
            Value::Unknown(Unknown::Unknown) => None,
        }
    }
}

/// One processor of a family; figures of a socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// Hardware threads (vCPUs) of a core.
    pub threads_per_core: Fact<u32>,
    /// Cores of a socket.
    pub cores: Fact<u32>,
    /// Clock under load.
    pub ghz: Fact<f64>,
    /// Memory bandwidth of a socket in GB/s.
    pub memory_gb_s: Fact<f64>,
    /// Operations on int8 (a product and an addition are two) of a core in a cycle, at best.
    pub int8_ops_per_cycle: Fact<u32>,
    /// Flags that matter, as the kernel spells them.
    pub isa: Fact<String>,
}

impl Processor {
    /// Rows from which a step is bound by arithmetic and no longer by reading weights:
    /// `ops/s × bytes a weight ÷ (2 × bytes/s)`.
    #[must_use]
    pub fn compute_bound_rows(&self) -> Option<f64> {
        let cores = f64::from(*self.cores.value()?);
        let ops = cores * self.ghz.value()? * f64::from(*self.int8_ops_per_cycle.value()?);
        Some(ops * WEIGHT_BYTES / (2.0 * self.memory_gb_s.value()?))
    }

    /// The table of kernels it gets, being of that kind (`aarch64`); `None` where its flags are unknown.
    #[must_use]
    pub fn kernels(&self, arch: &str) -> Option<&'static KernelTable> {
        let flags: Vec<&str> = self.isa.value()?.split_whitespace().collect();
        Some(KernelTable::fastest(arch, |flag| flags.contains(&flag)))
    }
}

/// How a machine of the family is recognised.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Match {
    /// Beginnings of instance series.
    instances: Vec<String>,
    /// The processor's vendor.
    vendor: Option<String>,
    /// Arm part numbers.
    parts: Vec<String>,
    /// Words of the model name.
    models: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    about: String,
    r#match: Match,
    processors: BTreeMap<String, Processor>,
    fragments: Vec<String>,
}

impl Family {
    /// Its settings: path and text of each fragment, the weakest first.
    #[must_use]
    pub fn layers(&self) -> Vec<(&'static str, &'static str)> {
        self.fragments.clone()
    }

    pub(crate) fn parse((path, text): File) -> Result<Self, String> {
        let written: Written =
            serde_yaml::from_str(text).map_err(|error| format!("{path}: {error}"))?;
        let fragment = |name: &String| {
            let found = embedded::FRAGMENTS.iter().find(|(path, _)| embedded::stem(path) == name);
            found.copied().ok_or_else(|| format!("{path}: no fragment {name}"))
        };
        Ok(Self {
            name: embedded::stem(path),
            about: written.about,
            processors: written.processors,
            matches: written.r#match,
            fragments: written.fragments.iter().map(fragment).collect::<Result<_, _>>()?,
        })
    }

    /// Why the machine's processor is of this family; `None` where it is not.
    pub(crate) fn recognises(&self, machine: &Machine) -> Option<String> {
        let cpu = &machine.cpu;
        if cpu.vendor.is_empty() || self.matches.vendor.as_ref() != Some(&cpu.vendor) {
            return None;
        }
        if let Some(part) = cpu.part {
            let part = format!("{part:#05x}");
            return (self.matches.parts.contains(&part))
                .then(|| format!("the processor is {} part {part}, {}", cpu.vendor, cpu.name));
        }
        let word = self.matches.models.iter().find(|word| cpu.name.contains(word.as_str()))?;
        Some(format!("the processor is {} {} ({word} in its name)", cpu.vendor, cpu.name))
    }

    /// Length of the longest beginning of `series` the family has.
    pub(crate) fn prefix(&self, series: &str) -> Option<usize> {
        let fits = self.matches.instances.iter().filter(|p| series.starts_with(p.as_str()));
        fits.map(String::len).max()
    }
}
