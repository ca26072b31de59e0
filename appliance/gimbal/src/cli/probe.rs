//! `gimbal probe`: the machine, who it is, its family, its accelerators, and every platform's devices
//! or the reason for none.
//!
//! The form of `--json` is written down in `docs/json.md`; a test compares the two.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::ArgMatches;
use gimbal_hal::{DeviceInfo, Platform, Probe};
use gimbal_machine::{Accelerator, Catalogue, Cpu, Identity, Imds, Machine, State};
use serde_json::{Value, json};

use super::layers;
use crate::boot::{platforms, probe};
use crate::config::Process;
use crate::failure::Failure;
use crate::{host, print};

/// What a platform answered, with its name.
type Found = (&'static str, Probe);

/// Runs the command.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    if let Some(name) = matches.get_one::<String>("platform") {
        return one(name, &Process::of(&layers::of_flags(matches)?));
    }
    let machine = Machine::here(Imds::OnEc2);
    let host = host::of(&machine);
    let process = Process::of(&layers::resolve(matches)?.settings);
    let platforms = platforms(&process)?;
    let look = |p: &Arc<dyn Platform>| (p.name(), probe(p.as_ref(), &host, &process));
    let found: Vec<Found> = platforms.iter().map(look).collect();
    let text = match matches.get_flag("json") {
        true => format!("{:#}\n", as_json(&machine, &found)),
        false => as_text(&machine, &found),
    };
    print::stdout(text)
}

/// One platform, looked for in this process: what a server asks a child for, since a driver may crash.
fn one(name: &str, process: &Process) -> Result<(), Failure> {
    let platforms = platforms(process)?;
    let platform = platforms.iter().find(|platform| platform.name() == name).ok_or_else(|| {
        let names: Vec<&str> = platforms.iter().map(|platform| platform.name()).collect();
        Failure::usage(format!("--platform {name}: there is {}", names.join(", ")))
    })?;
    let found = platform.probe(&host::of(&Machine::here(Imds::Never)));
    let json = serde_json::to_string(&found).map_err(anyhow::Error::from)?;
    print::stdout(json + "\n")
}

/// Bytes for people.
pub(super) fn gib(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let gib = bytes as f64 / f64::from(1_u32 << 30);
    format!("{gib:.1} GiB")
}

fn as_text(machine: &Machine, found: &[Found]) -> String {
    let (family, why) = Catalogue::embedded().family_of(machine);
    let mut lines = vec![
        ("processor", processor(&machine.cpu)),
        ("kernels", kernels(&machine.cpu)),
        ("memory", memory(machine)),
        ("usable", usable(machine)),
        ("identity", identity(&machine.identity)),
        ("family", format!("{} ({}): {why}", family.name, family.about)),
    ];
    if machine.nodes.len() > 1 {
        let node = |n: &gimbal_machine::Node| format!("{}: cpus {}", n.id, n.cpus);
        let nodes: Vec<String> = machine.nodes.iter().map(node).collect();
        lines.insert(4, ("numa", nodes.join("; ")));
    }
    if let Some(Err(why)) = &machine.metadata {
        lines.push(("metadata", format!("not to be had: {why}")));
    }
    lines.extend(family.layers().iter().map(|(path, _)| ("settings", (*path).to_owned())));
    lines.extend(machine.accelerators.iter().map(|a| ("accelerator", a.to_string())));
    if machine.accelerators.is_empty() {
        lines.push(("accelerator", "none on the PCI bus".to_owned()));
    }
    for (name, probe) in found {
        match probe {
            Probe::Found(devices) => lines.extend(devices.iter().map(|d| ("device", line(d)))),
            Probe::Absent { why } | Probe::Broken { why } => {
                lines.push(("device", format!("{name}: none ({why})")));
            }
        }
    }
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        writeln!(text, "{name:12} {value}").ok();
        text
    })
}

fn line(d: &DeviceInfo) -> String {
    let (memory, features) = (gib(d.memory_bytes), d.features.join(" "));
    format!("{}:{}  {}  {} cores  {memory}  {features}", d.platform, d.ordinal, d.name, d.cores)
}

fn processor(cpu: &Cpu) -> String {
    let Cpu { vendor, name, threads, cores, sockets, .. } = cpu;
    let features = cpu.features.join(" ");
    format!("{vendor} {name}: threads {threads}, cores {cores}, sockets {sockets}; {features}")
}

/// The table that computes unless the setting `kernels` says otherwise.
fn kernels(cpu: &Cpu) -> String {
    let table = cpu.kernels();
    match table.needs {
        [] => format!("{}: plain Rust, for any processor", table.name),
        needs => format!("{}: it has {}", table.name, needs.join(" ")),
    }
}

fn memory(machine: &Machine) -> String {
    let memory = &machine.memory;
    let swap = match memory.swap_bytes {
        0 => "no swap".to_owned(),
        bytes => format!("{} of {} swap used", gib(memory.swap_used_bytes), gib(bytes)),
    };
    format!("{}, {} available, {swap}", gib(memory.total_bytes), gib(memory.available_bytes))
}

fn usable(machine: &Machine) -> String {
    let (cpus, memory) = (machine.cpus(), gib(machine.memory_bytes()));
    let quota = machine.cgroup.cpu_quota.map(|q| format!(" for {q} of the time of one"));
    let version = match machine.cgroup.version {
        "" => "no cgroup".to_owned(),
        version => format!("cgroup {version}"),
    };
    format!("{cpus} CPUs{}, {memory} ({version}, affinity)", quota.unwrap_or_default())
}

fn identity(identity: &Identity) -> String {
    let or = |text: &Option<String>, other: &str| text.as_deref().unwrap_or(other).to_owned();
    let maker = match (&identity.vendor, &identity.product) {
        (None, None) => "no DMI".to_owned(),
        (vendor, product) => format!("{} {}", or(vendor, ""), or(product, "")).trim().to_owned(),
    };
    let region = or(&identity.region, "unknown");
    let container = or(&identity.container, "none");
    let sagemaker = or(&identity.sagemaker, "no");
    format!("{maker}; region {region}; container {container}; SageMaker {sagemaker}")
}

fn as_json(machine: &Machine, found: &[Found]) -> Value {
    let (family, why) = Catalogue::embedded().family_of(machine);
    let settings: Vec<&str> = family.layers().iter().map(|(path, _)| *path).collect();
    let accelerators: Vec<Value> = machine.accelerators.iter().map(accelerator).collect();
    let platforms: Vec<Value> = found.iter().map(|(name, probe)| platform(name, probe)).collect();
    json!({
        "machine": facts(machine),
        "identity": identity_json(machine),
        "family": {
            "name": family.name, "about": family.about, "why": why, "settings": settings,
        },
        "accelerators": accelerators,
        "platforms": platforms,
    })
}

fn facts(machine: &Machine) -> Value {
    let Machine { cpu, memory, cgroup, system, .. } = machine;
    let caches = cpu.caches.iter();
    let caches = caches.map(|c| json!({ "level": c.level, "kind": c.kind, "bytes": c.bytes }));
    let nodes = machine
        .nodes
        .iter()
        .map(|n| json!({ "id": n.id, "cpus": n.cpus.to_string(), "memory_bytes": n.memory_bytes }));
    json!({
        "cpu": {
            "arch": cpu.arch, "vendor": cpu.vendor, "name": cpu.name, "features": cpu.features,
            "threads": cpu.threads, "cores": cpu.cores, "sockets": cpu.sockets,
            "caches": caches.collect::<Vec<_>>(), "kernels": cpu.kernels().name,
        },
        "memory": {
            "total_bytes": memory.total_bytes, "available_bytes": memory.available_bytes,
            "swap_bytes": memory.swap_bytes, "swap_used_bytes": memory.swap_used_bytes,
        },
        "limits": {
            "cgroup": cgroup.version, "cpus": machine.cpus(), "cpu_quota": cgroup.cpu_quota,
            "cores": machine.cores(), "memory_bytes": machine.memory_bytes(),
            "memory_free_bytes": machine.memory_free_bytes(),
        },
        "nodes": nodes.collect::<Vec<_>>(),
        "system": {
            "kernel": system.kernel, "page_bytes": system.page_bytes, "huge_pages": system.huge_pages,
            "governor": system.governor, "open_files_max": system.open_files_max,
        },
    })
}

fn identity_json(machine: &Machine) -> Value {
    let identity = &machine.identity;
    let metadata = machine.metadata.as_ref().map(|said| match said {
        Ok(_) => "answered",
        Err(why) => why,
    });
    json!({
        "vendor": identity.vendor, "product": identity.product, "is_ec2": identity.is_ec2,
        "instance": identity.instance, "instance_id": identity.instance_id,
        "region": identity.region, "container": identity.container,
        "sagemaker": identity.sagemaker, "metadata": metadata,
    })
}

fn accelerator(a: &Accelerator) -> Value {
    let (usable, version, why, remedy) = match &a.state {
        State::Driven { version } => (true, version.as_deref(), None, None),
        State::Unusable { why, remedy } => (false, None, Some(why), Some(*remedy)),
    };
    json!({
        "address": a.address, "vendor": a.vendor.driver(), "name": a.name,
        "device": format!("{:#06x}", a.device), "usable": usable, "driver_version": version,
        "why": why, "remedy": remedy,
    })
}

fn platform(name: &str, probe: &Probe) -> Value {
    match probe {
        Probe::Absent { why } | Probe::Broken { why } => {
            json!({ "platform": name, "devices": [], "why": why })
        }
        Probe::Found(devices) => {
            let device = |d: &DeviceInfo| {
                json!({
                    "id": d.id.as_str(), "ordinal": d.ordinal, "name": d.name, "driver": d.driver,
                    "cores": d.cores, "numa_node": d.numa_node,
                    "memory_total_bytes": d.memory_total_bytes,
                    "memory_bytes": d.memory_bytes, "features": d.features,
                })
            };
            let devices: Vec<Value> = devices.iter().map(device).collect();
            json!({ "platform": name, "devices": devices })
        }
    }
}

#[cfg(test)]
mod tests {
    use gimbal_machine::Around;

    use super::*;
    use crate::cli::fixture::Folder;

    /// What is written down.
    const DOCS: &str = include_str!("../../docs/json.md");

    fn shown(tree: &str) -> (String, Value) {
        let machine = Machine::read(&Folder::of(tree).0, &Around::default());
        let found = [("onnx", Probe::Absent { why: "a test".to_owned() })];
        (as_text(&machine, &found), as_json(&machine, &found))
    }

    /// Names of all keys.
    fn keys(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, inner)| {
                into.push(key.clone());
                keys(inner, into);
            }),
            Value::Array(all) => all.iter().for_each(|inner| keys(inner, into)),
            _ => {}
        }
    }

    #[test]
    fn every_key_is_written_down() {
        let mut all = Vec::new();
        for tree in ["c7g.xlarge", "g5.xlarge-without-driver", "xeon-2-sockets"] {
            keys(&shown(tree).1, &mut all);
        }
        for key in all {
            let marks =
                [format!("`{key}"), format!(".{key}`"), format!(".{key}["), format!(".{key}.")];
            assert!(marks.iter().any(|mark| DOCS.contains(mark.as_str())), "{key}");
        }
    }

    #[test]
    fn a_machine_is_shown_with_its_family_and_settings() {
        let (text, json) = shown("c7g.xlarge");
        for line in [
            "processor    ARM Neoverse V1: threads 4, cores 4, sockets 1; asimd asimdhp asimddp i8mm",
            "kernels      i8mm: it has asimd asimddp i8mm\n",
            "memory       7.6 GiB, 7.0 GiB available, no swap\n",
            "usable       4 CPUs, 7.6 GiB (cgroup v2, affinity)\n",
            "identity     Amazon EC2 c7g.xlarge; region unknown; container none; SageMaker no\n",
            "settings     firmware-configs/fragments/base.yaml\n",
            "accelerator  none on the PCI bus\n",
            "device       onnx: none (a test)\n",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        assert_eq!(json["family"]["name"], "graviton3");
        assert_eq!(json["machine"]["limits"]["cores"], 4.0);
        assert_eq!(json["platforms"][0]["why"], "a test");
    }

    #[test]
    fn gravitons_name_their_kernels() {
        for (tree, kernels, page_bytes) in [
            ("a1.xlarge", "scalar", 4096),
            ("c6g.xlarge", "neon", 16384),
            ("c7g.xlarge", "i8mm", 4096),
            ("c8g.xlarge", "i8mm", 65536),
            ("m9g.xlarge", "i8mm", 4096),
        ] {
            let (text, json) = shown(tree);
            assert_eq!(json["machine"]["cpu"]["kernels"], kernels, "{tree}");
            assert_eq!(json["machine"]["system"]["page_bytes"], page_bytes, "{tree}");
            assert!(text.contains(&format!("kernels      {kernels}: ")), "{text}");
        }
    }

    /// What files tell of this very processor is what it can.
    #[test]
    fn the_table_that_is_named_is_the_one_that_computes() {
        let cpu = Machine::here(Imds::Never).cpu;
        for (name, choice) in gimbal_onnx::KernelChoice::ALL.into_iter().skip(1) {
            let told = gimbal_machine::KernelTable::named(name).expect("every table is known");
            let lacking = told.lacking(&cpu);
            let has = lacking.as_ref().is_some_and(Vec::is_empty);
            assert_eq!(choice.table().is_ok(), has, "{name}: {lacking:?}");
        }
    }

    #[test]
    fn an_accelerator_without_a_driver_is_shown_with_the_remedy() {
        let (text, json) = shown("inf2.xlarge-without-driver");
        assert!(text.contains("accelerator  neuron Inferentia2 at 0000:00:1f.0: present but"));
        assert_eq!(json["accelerators"][0]["usable"], false);
        assert_eq!(json["accelerators"][0]["device"], "0x7264");
        assert_eq!(json["accelerators"][0]["why"], "present but driver missing");
    }
}
