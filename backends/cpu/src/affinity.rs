//! On which CPUs threads run, and who lets whom run first. Refusals change nothing: all of it is for
//! speed.

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
pub fn give_way() {
    // SAFETY: on Linux 0 is the calling thread; raising its own niceness needs no right.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, GIVE_WAY) };
}
