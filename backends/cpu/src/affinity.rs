//! On which CPUs threads run, and who lets whom run first. Refusals change nothing: all of it is for
//! speed.

use std::cell::Cell;

thread_local! {
    /// Where the calling thread may run; nothing for one that computes no steps.
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Where a thread that calls the pool may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On every CPU the process has.
    Anywhere,
    /// On none that a worker is pinned to.
    OffWorkers,
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

/// Moves the calling thread to a place, if it computes steps and is not there. `workers` of the
/// process's `cpus` have a worker pinned to them; where they are all, nothing happens.
///
/// A caller that woke on a worker's CPU waits for it, and it for the caller, until the system moves
/// one; a step takes twice as long meanwhile.
pub(crate) fn place_caller(place: Place, cpus: &[usize], workers: usize) {
    if PLACE.get().is_none_or(|now| now == place) {
        return;
    }
    PLACE.set(Some(place));
    let (own, others) = cpus.split_at(cpus.len().min(1));
    let free = others.get(workers..).unwrap_or_default();
    match place {
        Place::Anywhere => pin(cpus.iter().copied()),
        Place::OffWorkers => pin(own.iter().chain(free).copied()),
    }
}

/// Pins the calling thread; where that is refused the thread stays where it was.
pub(crate) fn pin(cpus: impl IntoIterator<Item = usize>) {
    // SAFETY: an all-zero cpu_set_t is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus {
        // SAFETY: `cpu` came from `allowed_cpus`, so it is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
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

/// Says that the calling thread computes steps from now on: it gives way, and keeps off the CPUs of
/// the pool's workers while those work.
pub fn settle() {
    give_way();
    PLACE.set(Some(Place::Anywhere));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that computes keeps off workers' CPUs while they work, any other is left alone.
    #[test]
    fn who_computes_keeps_off_workers() {
        let cpus = allowed_cpus();
        let seen = |settles: bool, place: Place, workers: usize| {
            let cpus = cpus.clone();
            let run = move || {
                if settles {
                    settle();
                }
                place_caller(place, &cpus, workers);
                allowed_cpus()
            };
            std::thread::spawn(run).join().expect("no panic")
        };
        let workers = cpus.len() - 1;
        assert_eq!(seen(true, Place::OffWorkers, workers), cpus[..1]);
        assert_eq!(seen(true, Place::Anywhere, workers), cpus);
        assert_eq!(seen(false, Place::OffWorkers, workers), cpus);
        assert_eq!(seen(true, Place::OffWorkers, 0), cpus);
        // More threads than CPUs: the first is the caller's still.
        assert_eq!(seen(true, Place::OffWorkers, workers + 3), cpus[..1]);
    }
}
