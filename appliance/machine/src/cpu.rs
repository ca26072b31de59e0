//! The processor: who made it, what it can, how many cores.
//!
//! From `/proc/cpuinfo` and `/sys/devices/system/cpu`; what the process may use of it is `cgroup.rs`.

use std::collections::BTreeSet;

use crate::tree::Tree;

/// Flags that decide which kernels run, in the order they are shown; x86-64 first, then arm64.
const FEATURES: [&str; 18] = [
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "sme",
];
/// Most processors that are counted.
const PROCESSORS_MAX: usize = 8192;

/// Arm's part numbers. **Source**: Linux `arch/arm64/include/asm/cputype.h`.
const ARM_PARTS: [(u32, &str); 8] = [
    (0xd08, "Cortex-A72"),
    (0xd0b, "Cortex-A76"),
    (0xd0c, "Neoverse N1"),
    (0xd40, "Neoverse V1"),
    (0xd49, "Neoverse N2"),
    (0xd4f, "Neoverse V2"),
    (0xd84, "Neoverse V3"),
    (0xd8e, "Neoverse N3"),
];

/// The processor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// `x86_64`, `aarch64`, or empty where nothing tells.
    pub arch: String,
    /// `GenuineIntel`, `AuthenticAMD`, `ARM`, or the implementer's number.
    pub vendor: String,
    /// Model name, or the core's name on Arm.
    pub name: String,
    /// x86: `cpu family` and `model`.
    pub family_model: Option<(u32, u32)>,
    /// Arm: part number of the core.
    pub part: Option<u32>,
    /// Hardware threads that are online.
    pub threads: u32,
    /// Physical cores.
    pub cores: u32,
    /// Sockets.
    pub sockets: u32,
    /// Flags that decide which kernels run.
    pub features: Vec<String>,
    /// Caches of the first CPU.
    pub caches: Vec<Cache>,
}

/// One cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// 1, 2, 3.
    pub level: u32,
    /// `Data`, `Instruction`, `Unified`.
    pub kind: String,
    /// Its size.
    pub bytes: u64,
}

impl Cpu {
    /// True where the processor has the flag, as the kernel spells it.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|f| f == feature)
    }

    pub(crate) fn read(tree: Tree<'_>) -> Self {
        let info = tree.text("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| fields(&info).find(|(k, _)| *k == name).map(|(_, v)| v);
        let part = field("CPU part").and_then(hex);
        let implementer = field("CPU implementer");
        let arch = match (implementer, field("vendor_id")) {
            (Some(_), _) => "aarch64",
            (None, Some(_)) => "x86_64",
            (None, None) => "",
        };
        let vendor = match implementer.and_then(hex) {
            Some(0x41) => "ARM".to_owned(),
            Some(other) => format!("{other:#04x}"),
            None => field("vendor_id").unwrap_or_default().to_owned(),
        };
        let core = ARM_PARTS.iter().find(|(p, _)| vendor == "ARM" && Some(*p) == part);
        let name = match (field("model name"), core, part) {
            (_, Some((_, name)), _) => (*name).to_owned(),
            (Some(name), ..) => name.to_owned(),
            (None, None, Some(part)) => format!("part {part:#05x}"),
            (None, None, None) => String::new(),
        };
        let flags: BTreeSet<&str> = field("flags")
            .or_else(|| field("Features"))
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let number = |name: &str| field(name)?.parse().ok();
        let (threads, cores, sockets) = count(tree, &info);
        Self {
            arch: arch.to_owned(),
            vendor,
            name,
            family_model: number("cpu family").zip(number("model")),
            part,
            threads,
            cores,
            sockets,
            features: FEATURES
                .iter()
                .filter(|f| flags.contains(**f))
                .map(|f| (*f).to_owned())
                .collect(),
            caches: caches(tree),
        }
    }
}

/// `name : value` lines.
fn fields(info: &str) -> impl Iterator<Item = (&str, &str)> {
    info.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.trim(), v.trim()))
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// Threads, cores and sockets: from `/proc/cpuinfo` where it numbers cores (x86), else from sysfs.
fn count(tree: Tree<'_>, info: &str) -> (u32, u32, u32) {
    let mut threads = 0_u32;
    let (mut cores, mut sockets) = (BTreeSet::new(), BTreeSet::new());
    let (mut cpu, mut socket) = (None, None);
    for (key, value) in fields(info) {
        match key {
            "processor" if (threads as usize) < PROCESSORS_MAX => {
                let Ok(number) = value.parse::<u32>() else { continue };
                threads += 1;
                (cpu, socket) = (Some(number), None);
                let topology = format!("/sys/devices/system/cpu/cpu{number}/topology");
                let id = |name: &str| tree.number(&format!("{topology}/{name}"));
                if let (Some(package), Some(core)) = (id("physical_package_id"), id("core_id")) {
                    sockets.insert(package);
                    cores.insert((package, core));
                    cpu = None;
                }
            }
            "physical id" if cpu.is_some() => socket = value.parse::<u64>().ok(),
            "core id" if cpu.is_some() => {
                if let (Some(package), Ok(core)) = (socket, value.parse::<u64>()) {
                    sockets.insert(package);
                    cores.insert((package, core));
                }
            }
            _ => {}
        }
    }
    let known =
        |n: usize, other: u32| if n == 0 { other } else { u32::try_from(n).unwrap_or(other) };
    // A virtual machine may say nothing of cores; then a thread counts as one.
    (threads, known(cores.len(), threads), known(sockets.len(), threads.min(1)))
}

fn caches(tree: Tree<'_>) -> Vec<Cache> {
    let folder = "/sys/devices/system/cpu/cpu0/cache";
    let one = |name: &String| {
        let word = |file: &str| tree.word(&format!("{folder}/{name}/{file}"));
        let size = word("size")?;
        let (digits, unit) = size.split_at(size.trim_end_matches(['K', 'M', 'G']).len());
        let shift = match unit {
            "K" => 10,
            "M" => 20,
            "G" => 30,
            _ => 0,
        };
        let bytes = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
        Some(Cache { level: word("level")?.parse().ok()?, kind: word("type")?, bytes })
    };
    tree.names(folder).iter().filter(|n| n.starts_with("index")).filter_map(one).collect()
}
