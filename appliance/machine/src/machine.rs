//! All facts of one machine.
//!
//! Next: a file each for what it is made of.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::accelerator::{self, Accelerator};
use crate::imds::{self, IMDS_ADDRESS, Imds, Metadata};
use crate::limits::{self, Limits, Room};
use crate::numa::{self, Node};
use crate::tree::Tree;
use crate::{Cgroup, Cpu, Identity, Memory, System};

/// What surrounds the files: variables of the environment, and whether to ask the metadata service.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Names and values.
    pub environment: Vec<(String, String)>,
    /// Whether to ask.
    pub imds: Imds,
}

impl Around {
    /// This process's environment.
    #[must_use]
    pub fn process(imds: Imds) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { environment: std::env::vars_os().filter_map(text).collect(), imds }
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(n, v)| n == name && !v.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.environment.iter().map(|(name, _)| name.as_str())
    }
}

/// Facts of a machine; what could not be read is empty, 0 or `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Where they were read.
    pub root: PathBuf,
    /// The processor.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// What the process may use.
    pub cgroup: Cgroup,
    /// The process's own limits.
    pub limits: Limits,
    /// NUMA nodes, by number.
    pub nodes: Vec<Node>,
    /// The kernel's settings.
    pub system: System,
    /// Who it is.
    pub identity: Identity,
    /// Accelerators on the PCI bus, with or without a driver.
    pub accelerators: Vec<Accelerator>,
    /// What the metadata service said, or why not; `None` where it was not asked.
    pub metadata: Option<Result<Metadata, String>>,
}

impl Machine {
    /// Reads the facts below `root`.
    #[must_use]
    pub fn read(root: &Path, around: &Around) -> Self {
        let tree = Tree(root);
        let mut identity = Identity::read(tree, around);
        let address: Option<SocketAddr> = match around.imds {
            Imds::Never => None,
            Imds::OnEc2 if identity.is_ec2 => IMDS_ADDRESS.parse().ok(),
            Imds::OnEc2 => None,
            Imds::At(address) => Some(address),
        };
        let metadata = address.map(imds::ask);
        if let Some(Ok(said)) = &metadata {
            identity.instance.get_or_insert_with(|| said.instance.clone());
            identity.region.get_or_insert_with(|| said.region.clone());
        }
        Self {
            root: root.to_owned(),
            cpu: Cpu::read(tree),
            memory: Memory::read(tree),
            cgroup: Cgroup::read(tree),
            limits: Limits::read(tree),
            nodes: numa::read(tree),
            system: System::read(tree),
            accelerators: accelerator::read(tree, identity.container.is_some()),
            identity,
            metadata,
        }
    }

    /// The machine this process runs on.
    #[must_use]
    pub fn here(imds: Imds) -> Self {
        Self::read(Path::new("/"), &Around::process(imds))
    }

    /// Memory as it is now, without any other fact: what machine and groups have, and how much of that
    /// is taken, in bytes; `None` where nothing tells.
    #[must_use]
    pub fn memory_now(root: &Path) -> Option<(u64, u64)> {
        let tree = Tree(root);
        let now =
            Self { memory: Memory::read(tree), cgroup: Cgroup::read(tree), ..Self::default() };
        let total = Some(now.memory_bytes()).filter(|bytes| *bytes > 0)?;
        Some((total, total.saturating_sub(now.memory_free_bytes())))
    }

    /// CPUs the process may run on, before its quota; 0 where nothing tells.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        let sets = [&self.cgroup.affinity, &self.cgroup.cpuset];
        let counts = sets.into_iter().flatten().map(crate::CpuSet::count);
        counts.fold(self.cpu.threads, |least, n| if least == 0 { n } else { least.min(n) })
    }

    /// CPU time per time the process may use: CPUs, cut by the quota.
    #[must_use]
    pub fn cores(&self) -> f64 {
        let cpus = f64::from(self.cpus());
        self.cgroup.cpu_quota.map_or(cpus, |quota| quota.min(cpus))
    }

    /// Memory of the machine, cut by the cgroup's limit.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.total_bytes.min(self.cgroup.memory_limit_bytes.unwrap_or(u64::MAX))
    }

    /// Threads that compute without standing still: whole cores, at least one; `None` where nothing
    /// tells.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most `cpus`, which is a u32")]
    #[expect(clippy::cast_sign_loss, reason = "at least 1")]
    pub fn threads(&self) -> Option<u32> {
        (self.cpus() > 0).then(|| self.cores().floor().max(1.0) as u32)
    }

    /// Memory that could still be taken, by the strictest limit of machine, groups and process;
    /// `None` where nothing tells.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        limits::room(&self.memory, &self.cgroup, &self.limits)
    }

    /// Memory that could still be taken; 0 where nothing tells.
    #[must_use]
    pub fn memory_free_bytes(&self) -> u64 {
        self.room().map_or(0, |room| room.bytes)
    }
}
