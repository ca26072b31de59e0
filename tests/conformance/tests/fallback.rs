//! Which platform a model gets, by case: an accelerator that is there, is not, does not fit, crashes or
//! hangs; under SageMaker and elsewhere. `gimbal plan` decides as `gimbal serve` does. The accelerators
//! are simulated, the process that looks for them is real.

use std::process::Command;

use anyhow::Context;
use gimbal_conformance::model_path;
use gimbal_conformance::server::binary_path;

/// Said to a model of which a whole context is 32 blocks of 16 KiB.
const FIXED: [&str; 4] = ["--max-model-len", "512", "--host", "127.0.0.1"];

/// A case: hardware, flags with blanks between them, whether SageMaker starts it; exit code and words.
type Case = (&'static str, &'static str, bool, i32, &'static [&'static str]);

const SMALL: &str = "memory_bytes: 1024\n";

const CASES: &[Case] = &[
    ("", "", false, 0, &["planned: on sim:"]),
    ("", "", true, 0, &["planned: on sim:"]),
    (SMALL, "", false, 0, &["planned: on onnx:", "not on sim: the model needs 16384 bytes"]),
    (
        SMALL,
        "--devices-fallback refuse",
        false,
        69,
        &["sim: the model needs", "set --devices-fallback allow"],
    ),
    (SMALL, "", true, 69, &["under SageMaker (", "an accelerator is there and cannot be used"]),
    (SMALL, "--devices-fallback allow", true, 0, &["planned: on onnx:"]),
    (SMALL, "--backend onnx", true, 0, &["planned: on onnx:"]),
    (SMALL, "--backend sim", false, 71, &["the model needs 16384 bytes", "lower kv_cache_bytes"]),
    (
        "probe: crash\n",
        "",
        false,
        0,
        &["planned: on onnx:", "not on sim: its probe crashed (signal"],
    ),
    ("probe: crash\n", "", true, 69, &["sim: its probe crashed (signal"]),
    ("probe: hang\n", "", false, 0, &["on onnx:", "its probe did not answer within 10 s"]),
    ("probe: absent\n", "", false, 0, &["on onnx:", "not on sim: the simulation has no devices"]),
    ("probe: absent\n", "", true, 0, &["planned: on onnx:"]),
    ("probe: absent\n", "--devices-fallback refuse", false, 0, &["planned: on onnx:"]),
    ("devices: 2\n", "--devices sim:1", false, 0, &["planned: on sim:"]),
    (
        "devices: 2\n",
        "--devices 0,7",
        false,
        69,
        &["devices = 7: not there; there is sim:0, sim:1"],
    ),
    ("", "--devices onnx:cpu", false, 0, &["planned: on onnx:", "devices = onnx:cpu: not there"]),
    (
        "",
        "--replicas 2",
        false,
        0,
        &["on onnx:", "not on sim: replicas = 2: 2 copies on 1 devices"],
    ),
    (
        "",
        "--replicas 2 --backend onnx",
        false,
        0,
        &["replicas = 2 (from flag --replicas) means nothing"],
    ),
    (
        "memory_bytes: 8388608\n",
        "--device-memory-share 0.05",
        false,
        0,
        &["on sim:", "25 KV blocks"],
    ),
    ("kind: t4\n", "", false, 64, &["simulation = ", "unknown field"]),
];

fn hardware(case: usize, text: &str) -> anyhow::Result<std::path::PathBuf> {
    let file = format!("gimbal-fallback-{}-{case}.yaml", std::process::id());
    let path = std::env::temp_dir().join(file);
    std::fs::write(&path, format!("accelerator: true\n{text}"))?;
    Ok(path)
}

#[test]
fn the_platform_the_exit_code_and_the_sentence() -> anyhow::Result<()> {
    let (Some(binary), Some(model)) = (binary_path(), model_path()) else { return Ok(()) };
    for (number, (text, flags, is_sagemaker, code, words)) in CASES.iter().enumerate() {
        let path = hardware(number, text)?;
        let mut command = Command::new(&binary);
        command.arg("plan").arg(&model).args(FIXED).arg("--simulation").arg(&path);
        command.args(flags.split_whitespace());
        if *is_sagemaker {
            command.env("SAGEMAKER_REGION", "eu-west-1");
        }
        let output = command.output()?;
        std::fs::remove_file(&path)?;
        let told = String::from_utf8([output.stdout, output.stderr].concat())?;
        let case = format!("{text:?} {flags:?} SageMaker {is_sagemaker}: {told}");
        assert_eq!(output.status.code(), Some(*code), "{case}");
        // What is known of a device stays behind where the device does.
        let is_on_sim = told.contains("planned: on sim:");
        assert_eq!(told.contains("firmware-configs/accelerators/sim.yaml"), is_on_sim, "{case}");
        for word in *words {
            assert!(told.contains(word), "{word:?} of {case}");
        }
    }
    Ok(())
}

/// The second of two models sees what the first one has claimed.
#[test]
fn a_second_model_falls_back_where_the_first_took_the_memory() -> anyhow::Result<()> {
    let (Some(binary), Some(model)) = (binary_path(), model_path()) else { return Ok(()) };
    let path = hardware(1000, "memory_bytes: 8388608\n")?;
    let model = model.to_str().context("a UTF-8 path")?;
    let mut command = Command::new(&binary);
    command.args(["plan", "--model", &format!("a={model}"), "--model", &format!("b={model}")]);
    command.args(["--max-model-len", "8192", "--device-memory-share", "1", "--simulation"]);
    command.arg(&path);
    let output = command.output()?;
    std::fs::remove_file(&path)?;
    let told = String::from_utf8([output.stdout, output.stderr].concat())?;
    let (first, second) = told.split_once("planned: model b").context(told.clone())?;
    assert!(first.contains("planned: on sim:"), "{told}");
    assert!(second.contains("planned: on onnx:"), "{told}");
    assert!(second.contains("8388608 bytes of 8388608 are claimed by a"), "{told}");
    Ok(())
}
