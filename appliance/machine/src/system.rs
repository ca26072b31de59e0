//! Settings of the kernel that matter to a server.

use crate::limits::limit;
use crate::tree::Tree;

/// The line of `/proc/self/smaps`: pages of the mapping, by default those of the kernel.
const PAGES: &str = "KernelPageSize:";
/// The line of `/proc/self/limits`.
const FILES: &str = "Max open files";

/// What the kernel was told; `None` where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// How the clock of the first CPU is chosen: `performance`, `powersave` …
    pub governor: Option<String>,
    /// Files the process may have open (soft limit); `u64::MAX` is no limit.
    pub open_files_max: Option<u64>,
    /// How far the process may raise that limit itself.
    pub open_files_hard: Option<u64>,
    /// Bytes of a page: 4 KiB on x86-64; 4, 16 or 64 KiB on Arm, as the kernel was built.
    pub page_bytes: Option<u64>,
    /// The kernel's release.
    pub kernel: Option<String>,
}

impl System {
    pub(crate) fn read(tree: Tree<'_>) -> Self {
        let limits = tree.text("/proc/self/limits");
        let huge = tree.word("/sys/kernel/mm/transparent_hugepage/enabled");
        let chosen = |text: &str| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned());
        Self {
            huge_pages: huge.as_deref().and_then(chosen),
            governor: tree.word("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            open_files_max: limits.as_deref().and_then(|limits| limit(limits, FILES, 0)),
            open_files_hard: limits.as_deref().and_then(|limits| limit(limits, FILES, 1)),
            page_bytes: tree.beginning("/proc/self/smaps").as_deref().and_then(page_bytes),
            kernel: tree.word("/proc/sys/kernel/osrelease"),
        }
    }
}

/// Of `KernelPageSize:       64 kB`.
fn page_bytes(maps: &str) -> Option<u64> {
    let line = maps.lines().find_map(|line| line.strip_prefix(PAGES))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}
