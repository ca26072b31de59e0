//! What this crate asks of the process around it: where freed memory goes, what a vendor's library
//! may do unasked, and signals that must not end a server.

/// Blocks from this size on are mappings of their own, which end when they are freed. Left to itself,
/// glibc raises the size to 32 MiB and fills its arenas with holes instead.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED: libc::c_int = 1 << 20;

/// Keeps ONNX Runtime from reporting home. `with_telemetry(false)` does not: version 1.32 writes a
/// device id and a database into the home folder and looks up its vendor's host all the same (seen
/// by strace, 2026-11-28). Read when the library is loaded.
const NO_TELEMETRY: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// To be called once, first thing in `main`.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes any value of a parameter and refuses those it does not know.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
    // SAFETY: nobody reads or writes the environment meanwhile: this is called first in `main`,
    // before there is a second thread.
    unsafe { std::env::set_var(NO_TELEMETRY.0, NO_TELEMETRY.1) };
    // A file that reaches `ulimit -f` is an error of the write, not the end of the process.
    // SAFETY: SIG_IGN is a valid disposition of SIGXFSZ, and no handler of ours is replaced.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// True where [`set_up`] has switched the library's telemetry off.
#[must_use]
pub fn is_private() -> bool {
    std::env::var(NO_TELEMETRY.0).is_ok_and(|value| value == NO_TELEMETRY.1)
}

/// Gives back memory that is free, as after a model was loaded or a large body was answered.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` has no preconditions and may be called beside other threads.
    unsafe {
        libc::malloc_trim(0);
    }
}
