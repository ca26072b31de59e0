//! What `gimbal probe` and `gimbal doctor` say of machines with NVIDIA GPUs, and of those whose driver is
//! missing, broken or old: a row each, on the emulated driver. What is said must be a reason, never a crash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use gimbal_conformance::server::binary_path;
// Named so that cargo builds the library that is loaded.
use gimbal_libcuda as _;
use serde_json::Value;

/// Tells the emulator of which PTX cubins were made.
const MANIFEST: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../backends/cuda/ptx/MANIFEST.toml");
/// An A10G with the driver that SageMaker still gives by default.
const G5: &str = "name = \"NVIDIA A10G\"\nsm = 86\nmemory = 23999807488\ndriver = 11040\n";
/// Calls by which an image of our kernels is loaded, on the first to fourth try.
const LOAD: &str = "cuModuleLoadDataEx";

/// A machine's file, and the emulator under both names that NVIDIA's libraries have.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str, text: &str) -> anyhow::Result<Self> {
        let folder = format!("gimbal-detect-{}-{name}", std::process::id());
        let machine = Self(std::env::temp_dir().join(folder));
        fs::create_dir_all(&machine.0)?;
        fs::write(machine.0.join("machine.toml"), format!("cubins = {MANIFEST:?}\n{text}"))?;
        let tests = std::env::current_exe()?;
        let library = tests.parent().context("a folder")?.join("libgimbal_libcuda.so");
        ensure!(library.is_file(), "{} is not built", library.display());
        for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
            std::os::unix::fs::symlink(&library, machine.0.join(name))?;
        }
        Ok(machine)
    }

    fn command(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.args(arguments).arg("--libcuda").arg(self.0.join("libcuda.so.1"));
        command.env("GIMBAL_TEST_CUDA", self.0.join("machine.toml"));
        command.env_remove("CUDA_VISIBLE_DEVICES").current_dir(&self.0);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn failing(call: &str, times: u32, code: u32) -> String {
    let one = |at: u32| format!("[[fail]]\ncall = \"{call}\"\nat = {at}\ncode = {code}\n");
    (1..=times).map(one).collect()
}

/// `gimbal probe --json --platform cuda` of a machine, which must end well.
fn probe(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {told}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

const PROBE: [&str; 4] = ["probe", "--json", "--platform", "cuda"];

#[test]
fn every_machine_has_devices_or_a_reason() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let lost = |code| failing("cuDevicePrimaryCtxRetain", 1, code);
    let refused = |code| format!("{G5}{}", failing(LOAD, 4, code));
    let rows: Vec<(&str, String, &[&str])> = vec![
        ("no device", "devices = 0".to_owned(), &["\"Absent\"", "NO_DEVICE (100)", "--gpus all"]),
        ("803", failing("cuInit", 1, 803), &["\"Broken\"", "(803)", "start the machine again"]),
        ("804", failing("cuInit", 1, 804), &["\"Broken\"", "(804)", "forward-compatibility"]),
        ("old", "sm = 86\ndriver = 10020".to_owned(), &["\"Broken\"", "InferenceAmiVersion"]),
        ("jit 222", refused(222), &["\"Broken\"", "UNSUPPORTED_PTX_VERSION (222)", "sm86.cubin"]),
        ("jit 218", refused(218), &["\"Broken\"", "INVALID_PTX (218)", "sm80.ptx"]),
        ("jit 209", refused(209), &["\"Broken\"", "NO_BINARY_FOR_GPU (209)"]),
        ("next image", format!("{G5}{}", failing(LOAD, 1, 209)), &["\"Found\"", "sm80.cubin"]),
        ("four", format!("devices = 4\n{G5}"), &["\"Found\"", "\"ordinal\":3"]),
        ("lost", lost(719), &["\"Broken\"", "device 0: ", "(719)"]),
        ("one of two", format!("devices = 2\n{}", lost(719)), &["\"Found\"", "\"ordinal\":1"]),
        (
            "used",
            format!("others = 20000000000\n{G5}"),
            &["\"memory_bytes\":3999807488", "others have 20000000000"],
        ),
        ("a part", "name = \"NVIDIA A100 MIG 1g.5gb\"".to_owned(), &["\"cuda:MIG-454d554c-"]),
        ("whole", "name = \"NVIDIA A100\"".to_owned(), &["\"cuda:GPU-454d554c-"]),
    ];
    for (name, machine, expect) in rows {
        let machine = Machine::new(&name.replace(' ', "-"), &machine)?;
        let text = probe(&mut machine.command(&binary, &PROBE))?;
        for word in expect {
            ensure!(text.contains(word), "{name}: no {word} in {text}");
        }
    }
    Ok(())
}

#[test]
fn a_library_that_is_not_there_is_absent_and_one_that_was_named_is_broken() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let named = [&PROBE[..], &["--libcuda", "/nowhere/libcuda.so.1"]].concat();
    let text = probe(Command::new(&binary).args(named))?;
    ensure!(text.contains("\"Broken\"") && text.contains("/nowhere/libcuda.so.1"), "{text}");
    if !Path::new("/proc/driver/nvidia/version").exists() {
        let text = probe(Command::new(&binary).args(PROBE))?;
        ensure!(text.contains("\"Absent\"") && text.contains("libcuda.so.1"), "{text}");
    }
    Ok(())
}

/// NVIDIA's driver reads the variable itself; where it then has no device, that is said.
#[test]
fn devices_that_are_hidden_from_the_driver_are_named() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let machine = Machine::new("hidden", "devices = 0")?;
    let mut command = machine.command(&binary, &PROBE);
    let text = probe(command.env("CUDA_VISIBLE_DEVICES", "-1"))?;
    ensure!(text.contains("CUDA_VISIBLE_DEVICES = \\\"-1\\\" hides"), "{text}");
    Ok(())
}

/// By NVML and by the probe, each finding with its remedy.
#[test]
fn doctor_tells_of_gpus() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let sick = format!("others = 20000000000\necc_errors = 2\ncelsius = 60\n{G5}");
    for (name, machine, expect) in [
        ("well", G5.to_owned(), ["ok", "ok", "ok"]),
        ("sick", sick, ["ok", "fail", "warn"]),
        ("old", "sm = 86\ndriver = 10020".to_owned(), ["fail", "ok", "ok"]),
    ] {
        let machine = Machine::new(&format!("doctor-{name}"), &machine)?;
        let output = machine.command(&binary, &["doctor", "--json"]).output()?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let checks = answer["checks"].as_array().context("a list")?;
        for (check, status) in ["gpu_driver", "gpu_errors", "gpu_memory"].iter().zip(expect) {
            let found = checks.iter().find(|found| found["check"] == *check).context(*check)?;
            ensure!(found["status"] == status, "{name}: {found}");
            ensure!(found["remedy"].is_null() == (status == "ok"), "{name}: {found}");
        }
    }
    Ok(())
}
