//! Another machine, as far as the catalogue knows it: its processor, and devices that nobody has probed.
//!
//! Nothing is asked and nothing opened. Next: `boot/roofline.rs`, what follows for its speed.

use gimbal_hal::{DeviceId, DeviceInfo, Host};
use gimbal_machine::{Accelerators, Gpu, Instance};
use gimbal_neuron::probe::Chip;

/// The platform that computes on GPUs.
const CUDA: &str = "cuda";

/// An instance type that is planned for.
pub(crate) struct Elsewhere {
    /// Its name, without SageMaker's `ml.`.
    pub(crate) name: String,
    /// Its processor and memory.
    pub(crate) host: Host,
    /// Its accelerators that some platform computes on.
    pub(crate) devices: Vec<DeviceInfo>,
    /// Accelerators that none does: the vendor's name, and which.
    pub(crate) unused: Option<(&'static str, String)>,
}

impl Elsewhere {
    /// What the catalogue knows of a type.
    pub(crate) fn of(instance: &Instance) -> Self {
        let (mut devices, mut unused) = (Vec::new(), None);
        match &instance.accelerators {
            Some(Accelerators { gpu: Some(gpu), count, .. }) => {
                devices = (0..*count).map(|i| device(instance, gpu, i)).collect();
            }
            Some(Accelerators { vendor, kind, count, .. }) => match Chip::by_name(kind) {
                Some(chip) if chip.is_supported() => {
                    devices = gimbal_neuron::planned(&instance.name, chip, *count);
                }
                chip => {
                    let why = chip.map_or("no backend computes on it", Chip::unsupported);
                    unused = Some((vendor.driver(), format!("{count} × {kind}: {why}")));
                }
            },
            None => {}
        }
        Self { name: instance.name.clone(), host: host(instance), devices, unused }
    }
}

/// The processor, as far as the catalogue knows it.
fn host(instance: &Instance) -> Host {
    Host {
        cpu: format!("{} ({})", instance.name, instance.processor),
        features: Vec::new(),
        cores: instance.vcpus,
        memory_total_bytes: instance.memory_bytes,
        memory_bytes: instance.memory_bytes,
        memory_why: format!("of {}", instance.name),
    }
}

/// One GPU, all of whose memory is free.
fn device(instance: &Instance, gpu: &Gpu, ordinal: u32) -> DeviceInfo {
    let (kind, listed) =
        instance.accelerators.as_ref().map_or(("", 0), |a| (&a.kind, a.memory_bytes));
    let (memory, why) = match gpu.cuda_gib.value() {
        Some(gib) => (bytes(*gib), format!("what CUDA says of it: {}", gpu.cuda_gib.source)),
        None => (listed, "as EC2 lists it; what the driver keeps of that is not known".to_owned()),
    };
    let name = &instance.name;
    DeviceInfo {
        platform: CUDA.to_owned(),
        id: DeviceId::new(CUDA, &format!("{name}/{ordinal}")),
        ordinal: u16::try_from(ordinal).unwrap_or(u16::MAX),
        name: format!("{kind} of {name}"),
        driver: None,
        memory_total_bytes: memory,
        memory_bytes: memory,
        memory_why: format!("planned from the catalogue, not probed; {why}"),
        cores: gpu.multiprocessors.value().copied().unwrap_or(0),
        numa_node: None,
        features: gpu.capability.value().map(|sm| format!("sm_{sm}")).into_iter().collect(),
    }
}

/// GiB as whole bytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "14 to 300 GiB")]
fn bytes(gib: f64) -> u64 {
    (gib * f64::from(1 << 30)) as u64
}

#[cfg(test)]
mod tests {
    use gimbal_machine::Catalogue;

    use super::*;

    fn elsewhere(name: &str) -> Elsewhere {
        Elsewhere::of(Catalogue::embedded().instance(name).expect("it is in the catalogue"))
    }

    #[test]
    fn gpus_of_the_catalogue_are_devices_nobody_has_probed() {
        let g6 = elsewhere("g6.12xlarge");
        assert_eq!((g6.devices.len(), g6.host.cores), (4, 48));
        let last = &g6.devices[3];
        assert_eq!((last.ordinal, last.id.as_str()), (3, "cuda:g6.12xlarge/3"));
        assert_eq!(
            (last.features.as_slice(), last.memory_bytes),
            (&["sm_89".to_owned()][..], 22_888 << 20)
        );
        assert!(last.memory_why.contains("as EC2 lists it"), "{}", last.memory_why);
        // Where it is known what CUDA has, that counts.
        let t4 = &elsewhere("g4dn.xlarge").devices[0];
        assert_eq!(t4.memory_bytes, 15_837_691_904);
        assert!(t4.memory_why.contains("deviceQuery"), "{}", t4.memory_why);
    }

    #[test]
    fn logical_cores_of_the_catalogue_s_chips_are_devices() {
        for (name, count, gib) in [("inf2.24xlarge", 12, 16), ("trn2.48xlarge", 64, 24)] {
            let found = elsewhere(name);
            let last = found.devices.last().expect("there are some");
            assert_eq!((found.devices.len(), last.memory_bytes >> 30), (count, gib), "{name}");
            assert_eq!(last.id.as_str(), format!("neuron:{name}/nc{}", count - 1));
            assert!(found.unused.is_none(), "{name}");
        }
    }

    #[test]
    fn what_nobody_computes_on_is_said() {
        let inf1 = elsewhere("ml.inf1.6xlarge");
        assert!(inf1.devices.is_empty());
        let (vendor, why) = inf1.unused.expect("it is not used");
        assert!(vendor == "neuron" && why.starts_with("4 × Inferentia: its compiler"), "{why}");
        let c7g = elsewhere("c7g.xlarge");
        assert!(c7g.devices.is_empty() && c7g.unused.is_none());
    }
}
