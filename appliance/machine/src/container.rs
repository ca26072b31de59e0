//! Whether this is a container, and how that is known.
//!
//! With a cgroup namespace (version 2) a container's group is `/`, and only docker and podman leave a
//! file, so what is mounted is looked at: where the root's layers lie, and from where the files come
//! that every engine puts over the image's (`/etc/hosts` and its like). Only mounts *at* those places
//! count: a host that runs containers lists their mounts too, elsewhere.
//!
//! A mistake here opens a port (`host` is 0.0.0.0 in containers), so every rule names an engine's own
//! trace. The Windows subsystem is a machine: Windows forwards 127.0.0.1 into it.

use crate::machine::Around;
use crate::tree::Tree;

/// Files that runtimes leave.
const FILES: [(&str, &str); 2] = [("/.dockerenv", "docker"), ("/run/.containerenv", "podman")];
/// Files in which a manager, or systemd inside, writes the manager's name.
const NAMED: [&str; 2] = ["/run/host/container-manager", "/run/systemd/container"];
/// Names that managers give themselves, there and as the variable `container`.
const MANAGERS: [&str; 8] =
    ["docker", "podman", "oci", "lxc", "lxc-libvirt", "systemd-nspawn", "pouch", "rkt"];
/// Words in the path of a container's cgroup.
const CGROUP_WORDS: [&str; 7] =
    ["docker", "kubepods", "containerd", "crio", "libpod", "lxc", "ecs"];

/// Where the layers of an overlay at `/` lie. Live media, OSTree and overlayroot have others.
const LAYERS: [(&str, &str); 4] = [
    ("/io.containerd.snapshotter.", "containerd"),
    ("/var/lib/containerd", "containerd"),
    ("/containers/storage/", "CRI-O"),
    ("/docker/overlay2/", "docker"),
];
/// Files that engines mount over the image's.
const MOUNTED: [&str; 4] =
    ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/dev/termination-log"];
/// In which folders of an engine those lie.
const SOURCES: [(&str, &str); 5] = [
    ("/io.containerd.", "containerd"),
    ("/nerdctl/", "containerd"),
    ("/overlay-containers/", "CRI-O"),
    ("/docker/containers/", "docker"),
    ("/pods/", "kubernetes"),
];
/// Folders that LXD and Incus mount for themselves.
const LXC_MOUNTS: [&str; 2] = ["/dev/.lxd-mounts", "/dev/.incus-mounts"];
/// Set in every pod.
const POD: &str = "KUBERNETES_SERVICE_HOST";

/// The runtime, and the trace it left.
pub(crate) fn find(tree: Tree<'_>, around: &Around) -> Option<String> {
    let mounts = tree.text("/proc/self/mountinfo").unwrap_or_default();
    let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
    by_file(tree)
        .or_else(|| by_variable(tree, around))
        .or_else(|| by_mount(&mounts))
        .or_else(|| by_cgroup(tree))
        .or_else(|| by_pod(around, &mounts))
}

fn by_file(tree: Tree<'_>) -> Option<String> {
    if let Some((file, runtime)) = FILES.iter().find(|(file, _)| tree.exists(file)) {
        return Some(format!("{runtime} ({file})"));
    }
    NAMED.iter().find_map(|file| Some(format!("{} ({file})", manager(&tree.word(file)?)?)))
}

/// The variable that managers set for their first process; this one inherits it, and only root may
/// read the first one's.
fn by_variable(tree: Tree<'_>, around: &Around) -> Option<String> {
    let first = tree.text("/proc/1/environ").unwrap_or_default();
    let first = first.split('\0').find_map(|pair| pair.strip_prefix("container="));
    let named = around.variable("container").and_then(manager);
    named.or_else(|| first.and_then(manager)).map(|name| format!("{name} (variable container)"))
}

fn manager(name: &str) -> Option<&'static str> {
    MANAGERS.into_iter().find(|known| *known == name)
}

fn by_mount(mounts: &[Mount<'_>]) -> Option<String> {
    let found = |runtime: &str, mount: &Mount<'_>| format!("{runtime} (mount of {})", mount.target);
    let root = root(mounts).and_then(|root| Some(found(root.layers()?, root)));
    root.or_else(|| mounts.iter().find_map(|mount| Some(found(mount.engine()?, mount))))
}

/// Words of the first process's group: a service of a host may be called after an engine.
fn by_cgroup(tree: Tree<'_>) -> Option<String> {
    let groups = tree.text("/proc/1/cgroup").or_else(|| tree.text("/proc/self/cgroup"))?;
    let word = CGROUP_WORDS.iter().find(|word| {
        groups.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == **word)
    })?;
    Some(format!("{word} (cgroup)"))
}

/// The variable alone may stand in a developer's shell; there `/` is on a disk.
fn by_pod(around: &Around, mounts: &[Mount<'_>]) -> Option<String> {
    around.variable(POD)?;
    let is_on_disk = root(mounts)?.source.starts_with("/dev/");
    (!is_on_disk).then(|| format!("kubernetes (variable {POD})"))
}

/// What is mounted at `/`; the last one covers the others.
fn root<'a>(mounts: &'a [Mount<'a>]) -> Option<&'a Mount<'a>> {
    mounts.iter().rfind(|mount| mount.target == "/")
}

/// A line of `/proc/self/mountinfo`. **Source**: proc_pid_mountinfo(5).
struct Mount<'a> {
    /// What of the file system is mounted.
    root: &'a str,
    target: &'a str,
    kind: &'a str,
    source: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut system = system.splitn(3, ' ');
        Some(Self {
            root: place.next()?,
            target: place.next()?,
            kind: system.next()?,
            source: system.next()?,
            options: system.next().unwrap_or_default(),
        })
    }

    /// Whose layers this overlay has.
    fn layers(&self) -> Option<&'static str> {
        let is_overlay = matches!(self.kind, "overlay" | "fuse.fuse-overlayfs");
        let is_of = |(folder, _): &&(&str, &str)| is_overlay && self.options.contains(folder);
        LAYERS.iter().find(is_of).map(|(_, runtime)| *runtime)
    }

    /// Whose mount this is, where an engine puts one.
    fn engine(&self) -> Option<&'static str> {
        let is_lxcfs = self.kind == "fuse.lxcfs" && self.target.starts_with("/proc/");
        if is_lxcfs || LXC_MOUNTS.contains(&self.target) {
            return Some("lxc");
        }
        if !MOUNTED.contains(&self.target) {
            return None;
        }
        // A virtual machine of its own around the container: its files are shared into it.
        if self.source == "kataShared" {
            return Some("kata");
        }
        SOURCES.iter().find(|(folder, _)| self.root.contains(folder)).map(|(_, runtime)| *runtime)
    }
}
