//! What keeps NVIDIA GPUs from being used, or from being used whole.
//!
//! Each check is silent where there is no GPU. Next: `serving.rs`.

use gimbal_hal::{DeviceInfo, Probe, Reading};
use gimbal_machine::Vendor;

use super::{Case, Finding, fail, ok, warn};

/// What the container toolkit reads: which GPUs a container gets, and what of the driver.
const DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";
const CAPABILITIES: &str = "NVIDIA_DRIVER_CAPABILITIES";
/// Share of a GPU's memory that others may have before it is told: a driver keeps some for itself.
const OTHERS_MAX: f64 = 0.1;
/// Words of a driver's answer that its compiler of PTX is missing (code 221).
const NO_COMPILER: &str = "JIT_COMPILER_NOT_FOUND";

const INSTALL: &str =
    "install NVIDIA's driver, R470 or later (package nvidia-open, or an AWS Deep Learning AMI)";
const PASS: &str =
    "install the NVIDIA Container Toolkit on the host and run the container with --gpus all";

/// NVIDIA GPUs on the PCI bus.
fn on_bus(case: &Case) -> usize {
    case.machine.accelerators.iter().filter(|found| found.vendor == Vendor::Nvidia).count()
}

fn found(case: &Case) -> &[DeviceInfo] {
    match &case.cuda {
        Probe::Found(devices) => devices,
        Probe::Absent { .. } | Probe::Broken { .. } => &[],
    }
}

/// GPUs compute, or why not.
pub(super) fn driver(case: &Case) -> Finding {
    let in_container = case.machine.identity.container.is_some();
    match &case.cuda {
        Probe::Found(devices) => {
            let name = devices.first().map_or("", |device| &device.name);
            let driver = devices.first().and_then(|device| device.driver.as_deref());
            ok(format!("{} × {name}, {}", devices.len(), driver.unwrap_or("driver unknown")))
        }
        Probe::Absent { .. } if on_bus(case) == 0 => ok("no NVIDIA GPU"),
        Probe::Absent { why } => {
            let what = format!("{} on the PCI bus, none of which can be used: {why}", on_bus(case));
            fail(what, if in_container { PASS } else { INSTALL })
        }
        Probe::Broken { why } if why.contains("InferenceAmiVersion") => fail(
            why.clone(),
            "update the driver; a SageMaker endpoint gets a newer one by InferenceAmiVersion of its \
             production variant (al2-ami-sagemaker-inference-gpu-2 or later)",
        ),
        Probe::Broken { why } => fail(
            why.clone(),
            "mend what the driver says; until then serve with --backend onnx on the CPU",
        ),
    }
}

/// What a container was started with.
pub(super) fn container(case: &Case) -> Finding {
    if case.machine.identity.container.is_none() {
        return ok("not in a container");
    }
    if on_bus(case) == 0 && found(case).is_empty() {
        return ok("no NVIDIA GPU");
    }
    let said = |name: &str| case.environment.get(name).map_or("", String::as_str);
    let (devices, capabilities) = (said(DEVICES), said(CAPABILITIES));
    let has = |word: &str| capabilities.split(',').any(|c| c.trim() == word || c.trim() == "all");
    // The toolkit is not the only way in; whoever computes has what is needed but for the readings.
    if found(case).is_empty() && matches!(devices, "" | "void" | "none") {
        return warn(
            format!(
                "{DEVICES} = {devices:?}: the container toolkit gives no GPU to this container"
            ),
            format!("run it with --gpus all, or with {DEVICES}=all and the toolkit as runtime"),
        );
    }
    let lacks = |word: &&str| !has(word);
    if !capabilities.is_empty() && ["compute", "utility"].iter().any(lacks) {
        return warn(
            format!(
                "{CAPABILITIES} = {capabilities:?}: libcuda comes with compute, readings with utility"
            ),
            format!("set {CAPABILITIES}=compute,utility"),
        );
    }
    ok(format!("{DEVICES} = {devices:?}, {CAPABILITIES} = {capabilities:?}"))
}

/// Whether the driver's compiler is needed, and there.
pub(super) fn compiler(case: &Case) -> Finding {
    match &case.cuda {
        Probe::Broken { why } if why.contains(NO_COMPILER) => fail(
            format!("the driver's compiler of PTX is missing, and this GPU needs it: {why}"),
            format!(
                "put libnvidia-ptxjitcompiler.so.1 beside libcuda.so.1: in containers it comes with \
                 {CAPABILITIES}=compute"
            ),
        ),
        Probe::Found(devices) => {
            let is_compiled =
                |d: &&DeviceInfo| d.features.iter().any(|image| image.ends_with(".ptx"));
            match devices.iter().find(is_compiled) {
                Some(device) => ok(format!("{}: the driver compiled our PTX", device.name)),
                None => ok("not needed: our machine code loads"),
            }
        }
        Probe::Absent { .. } | Probe::Broken { .. } => ok("not asked for"),
    }
}

/// Memory that failed.
pub(super) fn errors(case: &Case) -> Finding {
    let bad = case.readings.iter().find_map(|reading| Some((reading, reading.errors?)));
    let failed = case.readings.iter().find_map(|r| Some((r, r.errors.filter(|n| *n > 0)?)));
    match (failed, bad) {
        (Some((reading, count)), _) => fail(
            format!("{}: {count} errors of memory that it could not correct", reading.device),
            "reset the GPU (nvidia-smi --gpu-reset) or replace the instance; answers may be wrong",
        ),
        (None, Some(_)) => ok("no uncorrected error of memory"),
        (None, None) => ok("no GPU tells of errors of its memory"),
    }
}

/// Memory of GPUs that others have.
pub(super) fn memory(case: &Case) -> Finding {
    let shared = case.readings.iter().find_map(|reading: &Reading| {
        let (used, total) = (reading.memory_used_bytes?, reading.memory_total_bytes?);
        (used as f64 > OTHERS_MAX * total as f64).then_some((reading, used, total))
    });
    match shared {
        Some((reading, used, total)) => warn(
            format!("{}: others have {used} of {total} bytes", reading.device),
            "end the processes that nvidia-smi shows, or name other GPUs with --devices",
        ),
        None if case.readings.is_empty() => ok("no GPU tells of its memory"),
        None => ok("free, but for what the driver keeps"),
    }
}

#[cfg(test)]
mod tests {
    use gimbal_hal::DeviceId;

    use super::super::{Check, Status};
    use super::*;

    /// What a check says of a fixture that was changed.
    #[track_caller]
    fn check(tree: &str, change: impl FnOnce(&mut Case), look: Check, expect: Status, says: &str) {
        let (_folder, mut case) = Case::of(tree, &[]);
        change(&mut case);
        let found = look(&case);
        let said = format!("{} → {}", found.finding, found.remedy.unwrap_or_default());
        assert_eq!(found.status, expect, "{said}");
        assert!(said.contains(says), "{said}");
    }

    const SAME: fn(&mut Case) = |_| {};

    fn broken(why: &str) -> impl FnOnce(&mut Case) {
        let why = why.to_owned();
        |case| case.cuda = Probe::Broken { why }
    }

    fn gpu(image: &str) -> Probe {
        Probe::Found(vec![DeviceInfo {
            platform: "cuda".to_owned(),
            id: DeviceId::new("cuda", "GPU-0"),
            ordinal: 0,
            name: "NVIDIA A10G".to_owned(),
            driver: Some("CUDA 12.2".to_owned()),
            memory_total_bytes: 1000,
            memory_bytes: 900,
            memory_why: String::new(),
            cores: 80,
            numa_node: None,
            features: vec!["sm_86".to_owned(), image.to_owned()],
        }])
    }

    fn reading(used: u64, errors: Option<u64>) -> impl FnOnce(&mut Case) {
        move |case| {
            case.readings = vec![Reading {
                device: DeviceId::new("cuda", "GPU-0"),
                memory_used_bytes: Some(used),
                memory_total_bytes: Some(1000),
                load: None,
                temperature: None,
                errors,
            }];
        }
    }

    #[test]
    fn a_driver_that_is_missing_or_too_old_fails_with_its_remedy() {
        let bare = "g5.xlarge-without-driver";
        check("c7g.xlarge", SAME, driver, Status::Ok, "no NVIDIA GPU");
        check(bare, SAME, driver, Status::Fail, "Deep Learning AMI");
        let hosted = |case: &mut Case| {
            case.machine.identity.container = Some("docker".to_owned());
        };
        check(bare, hosted, driver, Status::Fail, "Container Toolkit");
        let old = "a driver of CUDA 10.2: … a newer `InferenceAmiVersion`";
        check(bare, broken(old), driver, Status::Fail, "al2-ami-sagemaker-inference-gpu-2");
        check(bare, broken("cuInit: 803"), driver, Status::Fail, "--backend onnx");
        check(bare, |case| case.cuda = gpu("sm86.cubin"), driver, Status::Ok, "1 × NVIDIA A10G");
    }

    #[test]
    fn a_container_needs_gpus_and_both_capabilities() {
        let with = |devices: &str, capabilities: &str| {
            let pairs = [(DEVICES, devices), (CAPABILITIES, capabilities)];
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            move |case: &mut Case| {
                case.machine.identity.container = Some("docker".to_owned());
                case.environment.extend(pairs);
            }
        };
        let gpu_machine = "g5.xlarge-without-driver";
        check(gpu_machine, SAME, container, Status::Ok, "not in a container");
        check(gpu_machine, with("", ""), container, Status::Warn, "--gpus all");
        check(gpu_machine, with("void", ""), container, Status::Warn, "--gpus all");
        check(gpu_machine, with("all", "utility"), container, Status::Warn, "compute,utility");
        check(gpu_machine, with("all", "compute,utility"), container, Status::Ok, "all");
        check(gpu_machine, with("0", "all"), container, Status::Ok, "all");
        check("c7g.xlarge", with("", ""), container, Status::Ok, "no NVIDIA GPU");
    }

    #[test]
    fn a_compiler_is_missed_only_where_it_is_needed() {
        let tree = "g5.xlarge-without-driver";
        check(tree, SAME, compiler, Status::Ok, "not asked for");
        let missing = "cuModuleLoadDataEx: CUDA_ERROR_JIT_COMPILER_NOT_FOUND (221)";
        check(tree, broken(missing), compiler, Status::Fail, "libnvidia-ptxjitcompiler.so.1");
        check(tree, |case| case.cuda = gpu("sm86.cubin"), compiler, Status::Ok, "not needed");
        check(tree, |case| case.cuda = gpu("sm80.ptx"), compiler, Status::Ok, "compiled our PTX");
    }

    #[test]
    fn failed_memory_and_others_memory_are_told() {
        let tree = "c7g.xlarge";
        check(tree, SAME, errors, Status::Ok, "no GPU tells");
        check(tree, reading(0, Some(0)), errors, Status::Ok, "no uncorrected");
        check(tree, reading(0, Some(2)), errors, Status::Fail, "2 errors");
        check(tree, SAME, memory, Status::Ok, "no GPU tells");
        check(tree, reading(50, None), memory, Status::Ok, "free");
        check(tree, reading(500, None), memory, Status::Warn, "500 of 1000 bytes");
    }
}
