//! Limits of the process itself (`ulimit`), and which limit on memory is the strictest.
//!
//! The group's limits are `cgroup.rs`; what is done about them is decided elsewhere.

use crate::memory::kib;
use crate::tree::Tree;
use crate::{Cgroup, Memory};

/// Address space for what is mapped after this was asked, beside weights and KV: the vendor's library,
/// stacks of threads. What the allocator set aside for threads is in use by then.
const MAPPED_BESIDE: u64 = 96 << 20;

/// Soft limits of the process; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Addresses it may map (`ulimit -v`), and has.
    pub address_bytes: Option<u64>,
    /// Addresses it has mapped.
    pub address_used_bytes: u64,
    /// Memory of its own it may have (`ulimit -d`).
    pub data_bytes: Option<u64>,
    /// Memory of its own it has.
    pub data_used_bytes: u64,
}

impl Limits {
    pub(crate) fn read(tree: Tree<'_>) -> Self {
        let limits = tree.text("/proc/self/limits").unwrap_or_default();
        let status = tree.text("/proc/self/status").unwrap_or_default();
        let soft = |name| limit(&limits, name, 0).filter(|n| *n != u64::MAX);
        let used = |name| kib(&status, name).unwrap_or(0);
        Self {
            address_bytes: soft("Max address space"),
            address_used_bytes: used("VmSize"),
            data_bytes: soft("Max data size"),
            data_used_bytes: used("VmData"),
        }
    }
}

/// The soft (0) or hard (1) limit of a line `Max open files  1024  524288  files`; `u64::MAX` is none.
pub(crate) fn limit(limits: &str, name: &str, which: usize) -> Option<u64> {
    let line = limits.lines().find_map(|l| l.strip_prefix(name))?;
    match line.split_whitespace().nth(which)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Memory that could still be taken, and what limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// How much.
    pub bytes: u64,
    /// The strictest limit, with its numbers.
    pub why: String,
}

/// The least of what machine, groups and process leave; `None` where nothing tells.
pub(crate) fn room(memory: &Memory, cgroup: &Cgroup, limits: &Limits) -> Option<Room> {
    let machine = (memory.total_bytes > 0).then(|| Room {
        bytes: memory.available_bytes,
        why: format!("free of the machine's {} bytes", memory.total_bytes),
    });
    let group = cgroup.strictest.as_ref().map(|limit| Room {
        bytes: limit.rest(),
        why: format!(
            "left of the {} bytes of {}, of which {} are in use",
            limit.bytes, limit.file, limit.used_bytes
        ),
    });
    let own = |limit: Option<u64>, used: u64, beside, name| {
        let limit = limit?;
        let bytes = limit.saturating_sub(used).saturating_sub(beside);
        let why = format!("left of {name}, {limit} bytes, beside what is mapped anyway");
        Some(Room { bytes, why })
    };
    let Limits { address_bytes, address_used_bytes, data_bytes, data_used_bytes } = *limits;
    let addresses = own(address_bytes, address_used_bytes, MAPPED_BESIDE, "ulimit -v");
    let data = own(data_bytes, data_used_bytes, MAPPED_BESIDE, "ulimit -d");
    [group, machine, addresses, data].into_iter().flatten().min_by_key(|room| room.bytes)
}
