//! What the process may use: limits of its cgroup (version 1, 2 or both) and its affinity.
//!
//! A limit may stand at the process's own group or at any group above it; the least one holds.
//! Inside a container the group's path often belongs to the host and is not there; the walk upwards
//! then ends at the mount point, which is the container's own group.

use crate::cpuset::CpuSet;
use crate::tree::Tree;

/// Where cgroups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// Groups above one another that are looked at.
const DEPTH_MAX: usize = 32;
/// Version 1 writes a number near 2^63 for "no limit".
const NO_LIMIT: u64 = 1 << 60;

/// Limits; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cgroup {
    /// `v1`, `v2`, `v1+v2`, or empty where there is none.
    pub version: &'static str,
    /// CPU time per time: 1.5 is one and a half cores.
    pub cpu_quota: Option<f64>,
    /// CPUs of the group.
    pub cpuset: Option<CpuSet>,
    /// CPUs the process may run on (`sched_getaffinity`, as `/proc/self/status` shows it).
    pub affinity: Option<CpuSet>,
    /// Most memory.
    pub memory_limit_bytes: Option<u64>,
    /// The limit on memory that leaves the least, which need not be the lowest one.
    pub strictest: Option<MemoryLimit>,
}

/// A limit on memory of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The file that says it.
    pub file: String,
    /// The limit.
    pub bytes: u64,
    /// What the group holds and the kernel cannot take back: pages of files are not counted.
    pub used_bytes: u64,
}

impl MemoryLimit {
    /// What is left.
    #[must_use]
    pub const fn rest(&self) -> u64 {
        self.bytes.saturating_sub(self.used_bytes)
    }
}

impl Cgroup {
    pub(crate) fn read(tree: Tree<'_>) -> Self {
        let groups = tree.text("/proc/self/cgroup").unwrap_or_default();
        let mut all = Self { affinity: affinity(tree), ..Self::default() };
        let (mut is_v1, mut is_v2) = (false, false);
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            if controllers.is_empty() {
                is_v2 |= all.version2(tree, path);
            } else {
                is_v1 |= all.version1(tree, controllers, path);
            }
        }
        all.version = match (is_v1, is_v2) {
            (true, true) => "v1+v2",
            (true, false) => "v1",
            (false, true) => "v2",
            (false, false) => "",
        };
        all
    }

    /// True where a group was found.
    fn version2(&mut self, tree: Tree<'_>, path: &str) -> bool {
        // Where version 1 is mounted too, version 2 has a folder of its own.
        let hybrid = format!("{MOUNT}/unified");
        let mount = if tree.exists(&hybrid) { hybrid.as_str() } else { MOUNT };
        let mut found = false;
        for group in groups_up(mount, path) {
            found |= tree.exists(&format!("{group}/cgroup.controllers"));
            let file = |name: &str| format!("{group}/{name}");
            let quota = tree.word(&file("cpu.max")).and_then(|text| {
                let (quota, period) = text.split_once(' ')?;
                cores(quota.parse().ok()?, period.trim().parse().ok()?)
            });
            self.quota(quota);
            // Beyond `high` a group is slowed down until it stands still.
            for limit in ["memory.max", "memory.high"] {
                self.memory(tree, &group, limit, "memory.current", "");
            }
            self.cpus(tree, &file("cpuset.cpus.effective"));
        }
        found
    }

    /// True where a group was found.
    fn version1(&mut self, tree: Tree<'_>, controllers: &str, path: &str) -> bool {
        let mut found = false;
        for controller in controllers.split(',') {
            let mounts = [format!("{MOUNT}/{controller}"), format!("{MOUNT}/{controllers}")];
            let Some(mount) = mounts.iter().find(|m| tree.exists(m)) else { continue };
            for group in groups_up(mount, path) {
                let file = |name: &str| format!("{group}/{name}");
                match controller {
                    "cpu" => {
                        let number = |name| tree.number(&file(name));
                        let quota = number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us"));
                        self.quota(quota.and_then(|(quota, period)| cores(quota, period)));
                    }
                    "memory" => {
                        let (limit, used) = ("memory.limit_in_bytes", "memory.usage_in_bytes");
                        self.memory(tree, &group, limit, used, "total_");
                    }
                    "cpuset" => self.cpus(tree, &file("cpuset.cpus")),
                    _ => continue,
                }
                found |= tree.exists(&group);
            }
        }
        found
    }

    fn quota(&mut self, cores: Option<f64>) {
        if let Some(cores) = cores {
            self.cpu_quota = Some(self.cpu_quota.map_or(cores, |least| least.min(cores)));
        }
    }

    fn memory(&mut self, tree: Tree<'_>, group: &str, limit: &str, used: &str, prefix: &str) {
        let file = format!("{group}/{limit}");
        let Some(bytes) = tree.number(&file).filter(|bytes| *bytes < NO_LIMIT) else { return };
        let least = self.memory_limit_bytes.map_or(bytes, |least| least.min(bytes));
        self.memory_limit_bytes = Some(least);
        let stat = tree.text(&format!("{group}/memory.stat")).unwrap_or_default();
        let cached = |name: &str| {
            let name = format!("{prefix}{name}");
            let line = |line: &str| line.strip_prefix(&name)?.trim().parse::<u64>().ok();
            stat.lines().find_map(line).unwrap_or(0)
        };
        let files = cached("inactive_file ").saturating_add(cached("active_file "));
        let used_bytes = tree.number(&format!("{group}/{used}")).unwrap_or(0).saturating_sub(files);
        let found = MemoryLimit { file, bytes, used_bytes };
        if self.strictest.as_ref().is_none_or(|least| found.rest() < least.rest()) {
            self.strictest = Some(found);
        }
    }

    fn cpus(&mut self, tree: Tree<'_>, path: &str) {
        let Some(set) = tree.word(path).and_then(|text| CpuSet::parse(&text)) else { return };
        if self.cpuset.as_ref().is_none_or(|least| set.count() < least.count()) {
            self.cpuset = Some(set);
        }
    }
}

/// The group of `path` and all above it, the mount point last.
fn groups_up(mount: &str, path: &str) -> Vec<String> {
    let names: Vec<&str> =
        path.split('/').filter(|name| !matches!(*name, "" | "." | "..")).take(DEPTH_MAX).collect();
    let group = |n: usize| {
        let below: String = names[..n].iter().flat_map(|name| ["/", name]).collect();
        format!("{mount}{below}")
    };
    (0..=names.len()).rev().map(group).collect()
}

#[expect(clippy::cast_precision_loss, reason = "microseconds, far below 2^53")]
fn cores(quota: u64, period: u64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

fn affinity(tree: Tree<'_>) -> Option<CpuSet> {
    let status = tree.text("/proc/self/status")?;
    CpuSet::parse(status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?)
}
