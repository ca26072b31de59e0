//! Machines as their files show them, and files nobody would write.

mod fixture;

use std::path::Path;

use fixture::Folder;
use gimbal_machine::{Around, Catalogue, Imds, Machine, State, Vendor};
use proptest::prelude::*;

fn read(name: &str) -> Machine {
    Machine::read(&Folder::of(name).0, &Around::default())
}

fn family(machine: &Machine) -> (&'static str, String) {
    let (family, why) = Catalogue::embedded().family_of(machine);
    (family.name, why)
}

#[test]
fn a_graviton3_is_known_by_its_core() {
    let machine = read("c7g.xlarge");
    let cpu = &machine.cpu;
    assert_eq!((cpu.arch.as_str(), cpu.vendor.as_str()), ("aarch64", "ARM"));
    assert_eq!((cpu.name.as_str(), cpu.part), ("Neoverse V1", Some(0xd40)));
    assert_eq!((cpu.threads, cpu.cores, cpu.sockets), (4, 4, 1));
    assert_eq!(cpu.features, ["asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve"]);
    let caches: Vec<_> = cpu.caches.iter().map(|c| (c.level, c.bytes)).collect();
    assert_eq!(caches, [(1, 64 << 10), (3, 32 << 20)]);
    assert_eq!(machine.cores(), 4.0);
    assert_eq!(machine.memory_bytes(), 7_963_632 << 10);
    assert_eq!((machine.cgroup.version, machine.cgroup.cpu_quota), ("v2", None));
    assert_eq!(machine.nodes.len(), 1);
    assert_eq!(machine.system.open_files_max, Some(65535));
    assert_eq!(machine.system.huge_pages.as_deref(), Some("madvise"));
    assert_eq!(machine.system.page_bytes, Some(4 << 10));
    let identity = &machine.identity;
    assert!(identity.is_ec2);
    assert_eq!(identity.instance.as_deref(), Some("c7g.xlarge"));
    assert_eq!(identity.instance_id.as_deref(), Some("i-0123456789abcdef0"));
    assert_eq!((&identity.container, &identity.sagemaker), (&None, &None));
    let (name, why) = family(&machine);
    assert_eq!(name, "graviton3");
    assert_eq!(why, "the processor is ARM part 0xd40, Neoverse V1");
}

/// Cores, kernels and pages of every Graviton, each by its files alone.
#[test]
fn gravitons_name_their_kernels_and_pages() {
    for (tree, core, found, kernels, pages) in [
        ("a1.xlarge", "Cortex-A72", "laptop", "scalar", 4),
        ("c6g.xlarge", "Neoverse N1", "graviton2", "neon", 16),
        ("c7g.xlarge", "Neoverse V1", "graviton3", "i8mm", 4),
        ("c8g.xlarge", "Neoverse V2", "graviton4", "i8mm", 64),
        ("m9g.xlarge", "Neoverse V3", "graviton5", "i8mm", 4),
    ] {
        let machine = read(tree);
        assert_eq!(machine.cpu.name, core, "{tree}");
        assert_eq!(machine.cpu.kernels().name, kernels, "{tree}");
        assert_eq!(machine.system.page_bytes, Some(pages << 10), "{tree}");
        assert_eq!(family(&machine).0, found, "{tree}");
    }
    let zero = Machine::read(&Folder::new().0, &Around::default());
    assert_eq!((zero.cpu.kernels().name, zero.system.page_bytes), ("scalar", None));
}

/// What the kernel says of this very process.
#[test]
fn this_machine_has_pages() {
    let bytes = Machine::here(Imds::Never).system.page_bytes.expect("Linux tells");
    assert!(bytes >= 4096 && bytes.is_power_of_two(), "{bytes}");
}

#[test]
fn a_gpu_without_a_driver_is_seen_and_has_a_remedy() {
    let machine = read("g5.xlarge-without-driver");
    assert_eq!((machine.cpu.threads, machine.cpu.cores), (4, 2));
    let [gpu] = &machine.accelerators[..] else { panic!("one, the VGA of Nitro is none") };
    assert_eq!((gpu.vendor, gpu.name.as_str()), (Vendor::Nvidia, "A10G"));
    let shown = gpu.to_string();
    assert!(shown.starts_with("nvidia A10G at 0000:00:1e.0: present but driver missing; install"));
    assert_eq!(family(&machine).0, "amd");
}

#[test]
fn a_gpu_with_a_driver_has_its_version() {
    let folder = Folder::of("g5.xlarge-without-driver");
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines");
    let driver = std::fs::read_to_string(trees.join("driver-nvidia.tree")).expect("it is there");
    folder.expand(&driver);
    let state = || Machine::read(&folder.0, &Around::default()).accelerators[0].state.clone();
    assert_eq!(state(), State::Driven { version: Some("570.133.20".to_owned()) });
    std::fs::remove_file(folder.0.join("dev/nvidia0")).expect("it was there");
    std::fs::remove_file(folder.0.join("sys/module/nvidia/version")).expect("it was there");
    let State::Unusable { why, .. } = state() else { panic!("nvidiactl is no device") };
    assert_eq!(why, "driver loaded but no /dev/nvidia0");
    folder.expand("== /.dockerenv\n");
    let State::Unusable { remedy, .. } = state() else { panic!("still none") };
    assert!(remedy.contains("--gpus all"), "{remedy}");
    let text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.223.02  Sat Oct  7 15:39:11";
    folder.expand(&format!("== /dev/nvidia3\n== /proc/driver/nvidia/version\n{text}\n"));
    assert_eq!(state(), State::Driven { version: Some("470.223.02".to_owned()) });
}

#[test]
fn a_neuron_chip_without_a_driver_is_seen() {
    let machine = read("inf2.xlarge-without-driver");
    let [chip] = &machine.accelerators[..] else { panic!("one") };
    assert_eq!((chip.vendor, chip.name.as_str()), (Vendor::Neuron, "Inferentia2"));
    assert!(chip.to_string().contains("aws-neuronx-dkms"), "{chip}");
    // This guest does not number its cores: a thread counts as one.
    assert_eq!((machine.cpu.threads, machine.cpu.cores, machine.cpu.sockets), (4, 4, 1));
}

#[test]
fn a_container_has_what_its_cgroup_leaves() {
    let machine = read("epyc-container-v2");
    assert_eq!((machine.cpu.threads, machine.cpus(), machine.cores()), (8, 4, 1.5));
    assert_eq!(machine.memory_bytes(), 2 << 30);
    assert_eq!(machine.memory_free_bytes(), (2 << 30) - 104_857_600);
    let folder = Folder::of("epyc-container-v2");
    assert_eq!(Machine::memory_now(&folder.0), Some((2 << 30, 104_857_600)));
    assert_eq!(Machine::memory_now(&Folder::new().0), None);
    assert_eq!(machine.identity.container.as_deref(), Some("docker (/.dockerenv)"));
    assert_eq!(family(&machine).0, "amd");
}

#[test]
fn version_1_is_found_at_the_mount_where_the_path_is_the_hosts() {
    let machine = read("container-v1");
    assert_eq!((machine.cpus(), machine.cores()), (3, 2.0));
    assert_eq!(machine.memory_bytes(), 1 << 30);
    assert_eq!(machine.memory_free_bytes(), 1_000_000_000);
    assert_eq!(machine.cgroup.version, "v1");
    assert_eq!(machine.identity.container.as_deref(), Some("kubepods (cgroup)"));
    assert_eq!(family(&machine).0, "intel");
}

#[test]
fn the_least_limit_on_the_way_up_holds() {
    let folder = Folder::of("c7g.xlarge");
    folder.expand("== /sys/fs/cgroup/system.slice/memory.max\n1048576\n");
    folder.expand("== /sys/fs/cgroup/system.slice/cpu.max\n50000 100000\n");
    let machine = Machine::read(&folder.0, &Around::default());
    assert_eq!((machine.memory_bytes(), machine.cores()), (1 << 20, 0.5));
}

/// A full group above a small one leaves less than the small one.
#[test]
fn the_group_that_leaves_the_least_holds_and_pages_of_files_do_not_count() {
    let folder = Folder::of("container-v1");
    let room = || Machine::read(&folder.0, &Around::default()).room().expect("files tell");
    let group = "/sys/fs/cgroup/memory";
    assert_eq!(room().bytes, 1_000_000_000);
    assert!(room().why.contains("memory.limit_in_bytes"), "{}", room().why);
    let expect = "left of the 1073741824 bytes of /sys/fs/cgroup/memory/memory.limit_in_bytes, \
                  of which 73741824 are in use";
    assert_eq!(room().why, expect);
    folder.expand(&format!(
        "== {group}/memory.stat\ncache 9\ntotal_inactive_file 3741824\ntotal_active_file 10000000\n"
    ));
    assert_eq!(room().bytes, 1_013_741_824);
    folder.expand("== /proc/self/status\nVmSize:\t1000 kB\nVmData:\t500 kB\n");
    let limits = "Limit Soft Limit Hard Limit Units\nMax data size unlimited unlimited bytes\n";
    folder.expand(&format!(
        "== /proc/self/limits\n{limits}Max address space 900000000 unlimited bytes\n"
    ));
    let expect = 900_000_000 - 1_024_000 - (96 << 20);
    assert_eq!((room().bytes, room().why.contains("ulimit -v")), (expect, true));
}

#[test]
fn version_2_counts_what_slows_down_and_every_group_above() {
    let folder = Folder::of("c7g.xlarge");
    let room = || Machine::read(&folder.0, &Around::default()).room().expect("files tell");
    let group = "/sys/fs/cgroup/system.slice";
    folder.expand(&format!("== {group}/memory.high\n400000000\n== {group}/memory.max\nmax\n"));
    assert_eq!(room().bytes, 400_000_000);
    assert!(room().why.contains("system.slice/memory.high"), "{}", room().why);
    // The machine's own rest may be the least.
    folder.expand("== /sys/fs/cgroup/memory.max\n1000000000\n");
    folder.expand("== /sys/fs/cgroup/memory.current\n990000000\n");
    folder.expand("== /sys/fs/cgroup/memory.stat\nanon 1\ninactive_file 5000000\nactive_file 1\n");
    assert_eq!(room().bytes, 15_000_001);
    assert!(room().why.contains("/sys/fs/cgroup/memory.max"), "{}", room().why);
    let none = Machine::read(&Folder::new().0, &Around::default());
    assert_eq!((none.room(), none.threads()), (None, None));
}

#[test]
fn a_fraction_of_a_core_is_no_thread() {
    let threads = |quota| {
        let mut machine = read("epyc-container-v2");
        machine.cgroup.cpu_quota = quota;
        machine.threads()
    };
    let cases = [(Some(1.5), 1), (Some(0.25), 1), (Some(2.0), 2), (Some(3.99), 3), (Some(64.0), 4)];
    for (quota, expect) in cases {
        assert_eq!(threads(quota), Some(expect), "{quota:?}");
    }
    assert_eq!(threads(None), Some(4));
}

#[test]
fn sockets_cores_and_nodes_are_counted() {
    let machine = read("xeon-2-sockets");
    assert_eq!((machine.cpu.threads, machine.cpu.cores, machine.cpu.sockets), (8, 4, 2));
    assert_eq!(machine.memory_bytes(), 65_536_000 << 10);
    let nodes: Vec<_> =
        machine.nodes.iter().map(|n| (n.cpus.to_string(), n.memory_bytes)).collect();
    let bytes = 32_768_000 << 10;
    assert_eq!(nodes, [("0-1,40-41".to_owned(), bytes), ("2-3,42-43".to_owned(), bytes)]);
    assert!(machine.cpu.has("amx_int8"));
    let (name, why) = family(&machine);
    assert_eq!((name, why.ends_with("8488C (Xeon in its name)")), ("intel", true));
}

#[test]
fn a_laptop_is_anything_else() {
    let machine = read("laptop");
    let (name, why) = family(&machine);
    assert_eq!(name, "laptop");
    assert_eq!(why, "no other family has AuthenticAMD AMD Ryzen 7 6800U with Radeon Graphics");
    assert_eq!(machine.memory.swap_used_bytes, 3_000_000 << 10);
    assert_eq!(machine.system.governor.as_deref(), Some("powersave"));
    let shown = machine.accelerators[0].to_string();
    assert!(shown.contains("device 0x25a2"), "{shown}");
    assert!(shown.contains("taken by the driver nouveau"), "{shown}");
    assert_eq!(family(&Machine::default()).1, "no other family has an unknown processor");
}

#[test]
fn sagemaker_and_region_are_known_by_variables() {
    let folder = Folder::of("epyc-container-v2");
    let around = |pairs: &[(&str, &str)]| Around {
        environment: pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        imds: Imds::Never,
    };
    let identity = |pairs: &[(&str, &str)]| Machine::read(&folder.0, &around(pairs)).identity;
    assert_eq!(identity(&[("AWS_REGION", "eu-west-1")]).region.as_deref(), Some("eu-west-1"));
    assert_eq!(identity(&[]).sagemaker, None);
    let given = [("SAGEMAKER_REGION", "us-west-2"), ("SM_CURRENT_INSTANCE_TYPE", "ml.c7g.xlarge")];
    let known = identity(&given);
    assert_eq!(known.sagemaker.as_deref(), Some("variable SAGEMAKER_REGION"));
    assert_eq!(known.region.as_deref(), Some("us-west-2"));
    assert_eq!(known.instance.as_deref(), Some("c7g.xlarge"));
    folder.expand("== dir /opt/ml/model\n");
    assert_eq!(identity(&[]).sagemaker.as_deref(), Some("/opt/ml/model in a container"));
}

#[test]
fn links_in_a_circle_and_folders_for_files_are_absent() {
    let folder = Folder::new();
    folder.expand("== link /proc/cpuinfo -> cpuinfo\n== link /sys/class -> ../sys/class\n");
    folder.expand("== dir /proc/meminfo\n== link /sys/bus/pci/devices/a/driver -> ..\n");
    folder.expand("== link /proc/self -> self\n== link /dev -> .\n");
    let machine = Machine::read(&folder.0, &Around::default());
    assert_eq!(machine, Machine { root: folder.0.clone(), ..Machine::default() });
    let none = Machine::read(Path::new("/nowhere"), &Around::default());
    assert_eq!(none.cores(), 0.0);
}

/// Files that are parsed.
const PARSED: [&str; 15] = [
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/self/cgroup",
    "proc/self/status",
    "proc/self/limits",
    "proc/self/smaps",
    "proc/1/cgroup",
    "sys/fs/cgroup/cpu.max",
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "sys/devices/system/node/node0/cpulist",
    "sys/devices/system/cpu/cpu0/cache/index0/size",
    "sys/bus/pci/devices/0000:00:00.0/vendor",
    "sys/bus/pci/devices/0000:00:00.0/class",
    "sys/kernel/mm/transparent_hugepage/enabled",
];

/// Bytes, or words that parsers look for between numbers of any size.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "processor",
        ":",
        "\n",
        "\t",
        " ",
        "-",
        ",",
        "..",
        "/",
        "0::/",
        "4:memory,cpu:/a",
        "0x10de",
        "CPU part",
        "CPU implementer",
        "core id",
        "physical id",
        "MemTotal",
        "kB",
        "max",
        "[",
        "]",
        "18446744073709551615",
        "99999999999999999999",
        "-1",
        "1K",
        "é",
        "\0",
        "Max open files",
        "Cpus_allowed_list:",
        "vendor_id",
        "KernelPageSize:",
        "flags",
    ]);
    let words = prop::collection::vec(word, 0..60).prop_map(|w| w.concat().into_bytes());
    prop_oneof![prop::collection::vec(any::<u8>(), 0..200), words]
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn no_content_makes_it_panic(files in prop::collection::vec(content(), PARSED.len())) {
        let folder = Folder::new();
        for (path, bytes) in PARSED.iter().zip(&files) {
            let path = folder.0.join(path);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            std::fs::write(path, bytes).expect("a file");
        }
        let machine = Machine::read(&folder.0, &Around::default());
        prop_assert!(machine.cores() >= 0.0);
        prop_assert!(machine.memory_free_bytes() <= machine.memory_bytes());
        let (family, why) = Catalogue::embedded().family_of(&machine);
        prop_assert!(!family.layers().is_empty());
        prop_assert!(!why.is_empty());
    }
}
