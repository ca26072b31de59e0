//! NUMA nodes: which CPUs and how much memory are near each other.

use crate::cpuset::CpuSet;
use crate::memory::kib;
use crate::tree::Tree;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: u32,
    /// Its CPUs; empty for memory without any.
    pub cpus: CpuSet,
    /// Its memory.
    pub memory_bytes: u64,
}

pub(crate) fn read(tree: Tree<'_>) -> Vec<Node> {
    let folder = "/sys/devices/system/node";
    let node = |name: &String| {
        let id = name.strip_prefix("node")?.parse().ok()?;
        let list = tree.word(&format!("{folder}/{name}/cpulist"));
        let info = tree.text(&format!("{folder}/{name}/meminfo")).unwrap_or_default();
        Some(Node {
            id,
            cpus: list.and_then(|text| CpuSet::parse(&text)).unwrap_or_default(),
            memory_bytes: kib(&info, "MemTotal").unwrap_or(0),
        })
    };
    tree.names(folder).iter().filter_map(node).collect()
}
