//! What this machine leaves to the process: the one place that says so to every platform.
//!
//! Facts are those of `gimbal-machine`; where no files tell (nothing is mounted at `/proc`), the kernel
//! is asked without any.

use gimbal_hal::Host;
use gimbal_machine::{Imds, Machine, Room};

/// The host as it is now.
pub(crate) fn host() -> Host {
    of(&Machine::here(Imds::Never))
}

/// The host whose facts are known.
pub(crate) fn of(machine: &Machine) -> Host {
    let Room { bytes, why } = machine.room().unwrap_or_else(without_files);
    let cores = machine.threads().unwrap_or_else(|| {
        let told = std::thread::available_parallelism();
        told.map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
    });
    Host {
        cpu: machine.cpu.name.clone(),
        features: machine.cpu.features.clone(),
        cores,
        memory_total_bytes: machine.memory_bytes().max(bytes),
        memory_bytes: bytes,
        memory_why: why,
    }
}

/// What can be had where the machine's own files say nothing: as `sysinfo` finds it, else as the kernel
/// tells without a file; what caches hold is not in the latter.
fn without_files() -> Room {
    if let Ok(mut system) = sysinfo::System::new() {
        system.refresh_memory();
        let bytes = system.available_memory();
        if bytes > 0 {
            return Room { bytes, why: "available on this machine".to_owned() };
        }
    }
    let told = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "the width of these numbers is the target's")]
    let number = |n| u64::from(n);
    let free = number(told.freeram).saturating_add(number(told.bufferram));
    let bytes = free.saturating_mul(u64::from(told.mem_unit));
    Room { bytes, why: "free, as far as the kernel tells without /proc".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_files_has_a_core_and_memory() {
        let host = of(&Machine::default());
        assert!(host.cores >= 1);
        assert!(host.memory_bytes > 0);
        assert!(!host.memory_why.is_empty());
    }

    #[test]
    fn files_come_before_what_the_kernel_tells() {
        let folder = crate::cli::fixture::Folder::of("epyc-container-v2");
        let machine = Machine::read(&folder.0, &gimbal_machine::Around::default());
        let host = of(&machine);
        assert_eq!((host.cores, host.memory_bytes), (1, (2 << 30) - 104_857_600));
        assert!(host.memory_why.contains("memory.max"), "{}", host.memory_why);
    }
}
