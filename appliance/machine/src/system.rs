//! Settings of the kernel that matter to a server.

use crate::tree::Tree;

/// What the kernel was told; `None` where it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: Option<String>,
    /// How the clock of the first CPU is chosen: `performance`, `powersave` …
    pub governor: Option<String>,
    /// Files the process may have open (soft limit); `u64::MAX` is no limit.
    pub open_files_max: Option<u64>,
    /// The kernel's release.
    pub kernel: Option<String>,
}

impl System {
    pub(crate) fn read(tree: Tree<'_>) -> Self {
        let huge = tree.word("/sys/kernel/mm/transparent_hugepage/enabled");
        let chosen = |text: &str| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned());
        Self {
            huge_pages: huge.as_deref().and_then(chosen),
            governor: tree.word("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            open_files_max: tree.text("/proc/self/limits").as_deref().and_then(open_files),
            kernel: tree.word("/proc/sys/kernel/osrelease"),
        }
    }
}

/// The soft limit of `Max open files  1024  524288  files`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}
