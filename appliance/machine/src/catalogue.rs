//! What is known beforehand: families and instances, and which of them a machine is.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::embedded::{FAMILIES, INSTANCES};
use crate::instance::{Accelerators, Instance, Maker, Series, Size, Written};
use crate::{Family, Machine, Vendor};

/// Families and instances.
#[derive(Debug)]
pub struct Catalogue {
    families: Vec<Family>,
    instances: BTreeMap<String, Instance>,
}

impl Catalogue {
    /// The catalogue in the binary.
    ///
    /// # Panics
    /// If an embedded file is broken; a test reads them all.
    #[must_use]
    pub fn embedded() -> &'static Self {
        static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
        CATALOGUE.get_or_init(|| Self::parse().expect("a test has read every embedded file"))
    }

    fn parse() -> Result<Self, String> {
        let families =
            FAMILIES.iter().map(|file| Family::parse(*file)).collect::<Result<_, _>>()?;
        let (path, text) = INSTANCES;
        let written: Written =
            serde_yaml::from_str(text).map_err(|error| format!("{path}: {error}"))?;
        let mut all = Self { families, instances: BTreeMap::new() };
        for (name, series) in &written.series {
            for (type_name, size) in &series.types {
                let instance = all
                    .resolve(&written, series, type_name, size)
                    .map_err(|why| format!("{path}: {name}: {type_name}: {why}"))?;
                for other in &series.alike {
                    let size = type_name.split_once('.').map_or("", |(_, size)| size);
                    let other = Instance { name: format!("{other}.{size}"), ..instance.clone() };
                    all.add(other)?;
                }
                all.add(instance)?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, instance: Instance) -> Result<(), String> {
        let name = instance.name.clone();
        match self.instances.insert(name.clone(), instance) {
            None => Ok(()),
            Some(_) => Err(format!("{}: {name} is there twice", INSTANCES.0)),
        }
    }

    fn resolve(
        &self,
        written: &Written,
        series: &Series,
        name: &str,
        size: &Size,
    ) -> Result<Instance, String> {
        let processor = &series.processor;
        let family = self.families.iter().find(|f| f.processors.contains_key(processor));
        let family = family.ok_or_else(|| format!("no family has {processor}"))?;
        let threads = family.processors[processor].threads_per_core.value().copied().unwrap_or(1);
        let accelerators = match (&series.accelerator, size.accelerators) {
            (None, 0) => None,
            (Some(kind), count @ 1..) => {
                let known = written.accelerators.get(kind);
                let known = known.ok_or_else(|| format!("no accelerator {kind}"))?;
                let vendor = match known.vendor {
                    Maker::Nvidia => Vendor::Nvidia,
                    Maker::Neuron => Vendor::Neuron,
                };
                if (vendor == Vendor::Nvidia) != known.gpu.is_some() {
                    return Err(format!("{kind}: a GPU, and nothing else, has facts of one"));
                }
                if vendor != Vendor::Neuron && known.chip.is_some() {
                    return Err(format!("{kind}: nothing but a Neuron chip has facts of one"));
                }
                let (memory_bytes, gpu) = (known.memory_mib << 20, known.gpu.clone());
                let (kind, chip) = (kind.clone(), known.chip.clone());
                Some(Accelerators { vendor, kind, count, memory_bytes, gpu, chip })
            }
            _ => return Err("accelerators need a kind and a count".to_owned()),
        };
        Ok(Instance {
            name: name.to_owned(),
            vcpus: size.vcpus,
            cores: size.vcpus.div_ceil(threads.max(1)),
            memory_bytes: bytes(size.memory_gib),
            family: family.name,
            processor: processor.clone(),
            accelerators,
        })
    }

    /// All families; the one for everything else is last.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// All instances, by name.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// The family of that name.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.iter().find(|family| family.name == name)
    }

    /// The instance type of that name, with or without `ml.`.
    ///
    /// # Errors
    /// The name that was probably meant, where one is near.
    pub fn instance(&self, name: &str) -> Result<&Instance, Option<&str>> {
        let name = name.trim().to_ascii_lowercase();
        let name = name.strip_prefix("ml.").unwrap_or(&name);
        self.instances.get(name).ok_or_else(|| self.nearest(name))
    }

    /// The family of a machine, and why. The processor decides; where it says nothing the instance
    /// type does.
    ///
    /// # Panics
    /// If there is no family at all.
    #[must_use]
    pub fn family_of(&self, machine: &Machine) -> (&Family, String) {
        for family in &self.families {
            if let Some(why) = family.recognises(machine) {
                return (family, why);
            }
        }
        if let Some(found) = machine.identity.instance.as_deref().and_then(|i| self.by_instance(i))
        {
            return found;
        }
        let last = self.families.last().expect("there is a family for everything else");
        let cpu = &machine.cpu;
        let shown = match (cpu.vendor.as_str(), cpu.name.as_str()) {
            ("", "") => "an unknown processor".to_owned(),
            (vendor, name) => format!("{vendor} {name}"),
        };
        (last, format!("no other family has {shown}"))
    }

    fn by_instance(&self, instance: &str) -> Option<(&Family, String)> {
        let why = format!("the instance type is {instance}");
        if let Some(family) = self.instances.get(instance).and_then(|i| self.family(i.family)) {
            return Some((family, why));
        }
        let series = instance.split('.').next()?;
        let fits = self.families.iter().filter_map(|f| Some((f.prefix(series)?, f)));
        let (_, family) = fits.max_by_key(|(length, _)| *length)?;
        Some((family, why))
    }

    /// The type with the fewest edits, at most a third of the name; the same series is nearer.
    fn nearest(&self, name: &str) -> Option<&str> {
        // A longer word is no slip of the hand; it would only cost time.
        if name.len() > 32 {
            return None;
        }
        let series = |n: &str| n.split('.').next().unwrap_or_default().to_owned();
        let scored = self.instances.keys().map(|known| {
            let strange = usize::from(series(known) != series(name));
            (2 * strsim::levenshtein(name, known) + strange, known.as_str())
        });
        let (score, known) = scored.min()?;
        (score / 2 * 3 <= name.len()).then_some(known)
    }
}

/// GiB, possibly half ones, as bytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0.5 to 4096 GiB")]
fn bytes(gib: f64) -> u64 {
    (gib * f64::from(1 << 30)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of one step, unless a fragment says otherwise.
    const ROWS_BUILT_IN: f64 = 256.0;

    #[test]
    fn every_embedded_file_is_read() {
        let all = Catalogue::parse().expect("the files are right");
        assert_eq!(all.families.last().map(|f| f.name), Some("laptop"));
        assert!(all.instances.len() > 250);
    }

    #[test]
    fn fragments_are_settings() {
        for family in Catalogue::embedded().families() {
            let file = |(path, text): (&str, &str)| gimbal_settings::ConfigFile {
                path: path.to_owned(),
                bytes: text.into(),
                format: gimbal_settings::Format::Yaml,
                origin: gimbal_settings::Origin::Operator,
                section: None,
            };
            let files = family.layers().into_iter().map(file).collect();
            let given = gimbal_settings::Given { files, ..Default::default() };
            let resolved = gimbal_settings::Settings::resolve(&Default::default(), &given);
            let settings = resolved.expect("every key and value is right");
            assert_eq!(settings.ignored().len(), 0, "{}", family.name);
        }
    }

    /// The rule of `many-rows.yaml`; AMX waits for a kernel that uses it.
    #[test]
    fn a_step_may_be_eight_times_as_long_as_makes_it_compute_bound() {
        for family in Catalogue::embedded().families() {
            let is_wide = family.layers().iter().any(|(path, _)| path.contains("many-rows"));
            let rows = if is_wide { 2.0 * ROWS_BUILT_IN } else { ROWS_BUILT_IN };
            let mut needs_wide = false;
            for (name, processor) in &family.processors {
                let amx = processor.isa.value().is_some_and(|isa| isa.contains("amx"));
                let Some(bound) = processor.compute_bound_rows().filter(|_| !amx) else { continue };
                assert!(rows >= 8.0 * bound, "{name}: {bound} rows");
                needs_wide |= 8.0 * bound > ROWS_BUILT_IN;
            }
            assert_eq!(is_wide, needs_wide, "{}", family.name);
        }
    }

    #[test]
    fn every_gpu_has_what_a_plan_needs() {
        for instance in Catalogue::embedded().instances() {
            let Some(gpu) = instance.accelerators.as_ref().and_then(|a| a.gpu.as_ref()) else {
                continue;
            };
            let name = &instance.name;
            assert!(gpu.capability.value().is_some_and(|sm| (75..=120).contains(sm)), "{name}");
            // The balance point: all GPUs of EC2 have between 100 and 450 FLOP a byte.
            let rows = gpu.compute_bound_rows().expect("both are known");
            assert!((100.0..450.0).contains(&rows), "{name}: {rows}");
            let memory = instance.accelerators.as_ref().map_or(0, |a| a.memory_bytes) as f64;
            let cuda = gpu.cuda_gib.value().map_or(memory, |gib| gib * f64::from(1 << 30));
            assert!((0.9..=1.0).contains(&(cuda / memory)), "{name}: {cuda} of {memory}");
            for source in [&gpu.capability.source, &gpu.cuda_gib.source, &gpu.memory_gb_s.source] {
                assert!(source.len() > 10, "{name}");
            }
        }
    }

    /// The rule of `accelerators/cuda.yaml`.
    #[test]
    fn a_gpu_s_step_is_four_times_as_long_as_makes_it_compute_bound() {
        let (_, text) = crate::accelerator_settings("cuda").expect("it has settings");
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.expect(key).parse::<f64>().expect(key)
        };
        let rows = value("max_rolling_batch_prefill_tokens");
        assert!(value("max_rolling_batch_size") <= rows);
        let gpus = Catalogue::embedded().instances().filter_map(|i| i.accelerators.as_ref());
        for (kind, gpu) in gpus.filter_map(|found| Some((&found.kind, found.gpu.as_ref()?))) {
            let bound = gpu.compute_bound_rows().expect("both are known");
            assert!(rows >= 4.0 * bound, "{kind}: {bound} rows");
        }
    }

    #[test]
    fn instances_are_found_and_slips_are_named() {
        let all = Catalogue::embedded();
        let c7g = all.instance("ml.c7g.xlarge").expect("it is there");
        assert_eq!((c7g.vcpus, c7g.cores, c7g.memory_bytes), (4, 4, 8 << 30));
        assert_eq!((c7g.family, c7g.accelerators.as_ref()), ("graviton3", None));
        let g5 = all.instance("g5.12xlarge").expect("it is there");
        assert_eq!((g5.vcpus, g5.cores, g5.family), (48, 24, "amd"));
        let gpus = g5.accelerators.as_ref().expect("it has some");
        assert_eq!((gpus.kind.as_str(), gpus.count, gpus.memory_bytes), ("A10G", 4, 22_888 << 20));
        let inf2 = all.instance("ML.INF2.xlarge").expect("case does not matter");
        let chips = inf2.accelerators.as_ref().expect("it has one");
        assert_eq!((chips.vendor, chips.count, chips.memory_bytes >> 30), (Vendor::Neuron, 1, 32));
        assert_eq!(all.instance("c7g.xlrge"), Err(Some("c7g.xlarge")));
        assert_eq!(all.instance("ml.g5.3xlarge"), Err(Some("g5.2xlarge")));
        assert_eq!(all.instance("mainframe"), Err(None));
        assert_eq!(all.instance(&"x".repeat(1 << 20)), Err(None));
    }

    #[test]
    fn a_series_that_is_not_listed_has_the_family_of_its_beginning() {
        let all = Catalogue::embedded();
        let family = |name| all.by_instance(name).map(|(family, _)| family.name);
        assert_eq!(family("c7gn.4xlarge"), Some("graviton3"));
        assert_eq!(family("m5ad.large"), Some("amd"));
        assert_eq!(family("m5zn.large"), Some("intel"));
        assert_eq!(family("mac2.metal"), None);
    }
}
