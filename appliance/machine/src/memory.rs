//! The machine's memory, without what a cgroup takes away.

use crate::tree::Tree;

/// Bytes from `/proc/meminfo`; 0 where nothing tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What the kernel manages.
    pub total_bytes: u64,
    /// What could be had without swapping.
    pub available_bytes: u64,
    /// Swap space.
    pub swap_bytes: u64,
    /// Swap space in use.
    pub swap_used_bytes: u64,
}

impl Memory {
    pub(crate) fn read(tree: Tree<'_>) -> Self {
        let info = tree.text("/proc/meminfo").unwrap_or_default();
        let bytes = |name| kib(&info, name).unwrap_or(0);
        let swap = bytes("SwapTotal");
        Self {
            total_bytes: bytes("MemTotal"),
            available_bytes: bytes("MemAvailable").min(bytes("MemTotal")),
            swap_bytes: swap,
            swap_used_bytes: swap.saturating_sub(bytes("SwapFree")),
        }
    }
}

/// Bytes of a line `… name: 123 kB`.
pub(crate) fn kib(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.split_whitespace().next_back()? == name)
            .then(|| value.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024))
            .flatten()
    };
    text.lines().find_map(value)
}
