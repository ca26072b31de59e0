//! What CPU this is and how much of it the process may use.
//!
//! Reads affinity, the cgroup's quota and memory limit; decides nothing.

use std::fs;

use gimbal_hal::DeviceInfo;

/// The CPU as the one device of this platform.
pub(crate) fn cpu() -> DeviceInfo {
    DeviceInfo {
        platform: "onnx",
        ordinal: 0,
        name: cpu_name(),
        memory_bytes: memory_available(),
        cores: cores(),
        features: crate::kernels::features(),
    }
}

/// CPU numbers the process may run on, ascending.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    // SAFETY: an all-zero cpu_set_t is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: pid 0 is the calling thread; the pointer and size describe `set`.
    let status = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if status != 0 {
        return Vec::new();
    }
    let limit = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: every tested index is below CPU_SETSIZE.
    (0..limit).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// Pins the calling thread; where that is refused the thread stays where it was.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: an all-zero cpu_set_t is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` came from `allowed_cpus`, so it is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: pid 0 is the calling thread; the pointer and size describe `set`. A refusal changes
    // nothing and pinning is only for speed.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
}

/// How much less than others' a computing thread's time weighs (`nice`).
const GIVE_WAY: libc::c_int = 5;

/// Lets threads that wake to answer a socket run before the calling one, which computes for long
/// stretches. p99 of `/ping` under 64 streams on two cores, load on the same cores, two rounds by
/// turns: 5.1 and 5.2 ms without, 3.3 and 3.2 with; SCHED_BATCH alone did nothing, 5.0 and 5.2
/// (Zen 3, Linux 6.18, 2026-11). A refusal changes nothing.
pub(crate) fn give_way() {
    // SAFETY: on Linux 0 is the calling thread; raising its own niceness needs no right.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, GIVE_WAY) };
}

/// CPUs the process may use: affinity, cut by the cgroup's quota.
fn cores() -> u32 {
    let allowed = u32::try_from(allowed_cpus().len()).unwrap_or(1).max(1);
    quota_cores().map_or(allowed, |quota| quota.clamp(1, allowed))
}

/// The cgroup v2 CPU quota, rounded up to whole cores.
fn quota_cores() -> Option<u32> {
    let text = fs::read_to_string("/sys/fs/cgroup/cpu.max").ok()?;
    parse_quota(&text)
}

fn parse_quota(text: &str) -> Option<u32> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok().filter(|p| *p > 0)?;
    u32::try_from(quota.div_ceil(period)).ok()
}

/// Bytes the process may still take: the least of free memory and the cgroup's rest.
fn memory_available() -> u64 {
    let Ok(mut system) = sysinfo::System::new() else { return memory_free() };
    system.refresh_memory();
    let cgroup = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
    match system.available_memory() {
        // Nothing is mounted at /proc, as in a bare root folder.
        0 => memory_free(),
        available => available.min(cgroup),
    }
}

/// Free memory as the kernel tells without any file; what caches hold is not in it.
fn memory_free() -> u64 {
    // SAFETY: an all-zero `sysinfo` is valid: it is plain numbers.
    let mut told: libc::sysinfo = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a writable `sysinfo` of this frame.
    let status = unsafe { libc::sysinfo(&raw mut told) };
    if status != 0 {
        return 0;
    }
    (told.freeram + told.bufferram).saturating_mul(u64::from(told.mem_unit))
}

fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|l| l.starts_with("model name") || l.starts_with("CPU part"));
    let name = line.and_then(|l| l.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or(std::env::consts::ARCH).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_to_cores() {
        assert_eq!(parse_quota("150000 100000\n"), Some(2));
        assert_eq!(parse_quota("max 100000\n"), None);
        assert_eq!(parse_quota("100000 0\n"), None);
        assert_eq!(parse_quota(""), None);
    }

    #[test]
    fn the_cpu_has_a_core_and_memory() {
        let device = cpu();
        assert!(device.cores >= 1);
        assert!(device.memory_bytes > 0);
        assert!(memory_free() > 0);
    }
}
