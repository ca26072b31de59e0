//! The process's heap, where glibc keeps it: what is free should be the system's again.

/// Blocks from this size on are mappings of their own, which end when they are freed. Left to itself,
/// glibc raises the size to 32 MiB and fills its arenas with holes instead.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED: libc::c_int = 1 << 20;

/// To be called once, at the start of the process.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes any value of a parameter and refuses those it does not know.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}

/// Gives back what is free, as after a model was loaded.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` has no preconditions and may be called beside other threads.
    unsafe {
        libc::malloc_trim(0);
    }
}
