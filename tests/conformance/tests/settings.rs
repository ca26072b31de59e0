//! The real binary explains each setting, whichever layer it came from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gimbal_conformance::server::binary_path;

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("gimbal-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn gimbal(
    binary: &Path,
    folder: &Folder,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> anyhow::Result<Output> {
    let mut command = Command::new(binary);
    command.current_dir(&folder.0).args(arguments);
    Ok(command.env_clear().envs(variables.iter().copied()).output()?)
}

/// Each layer beats the one before, and says from which line, variable or flag it is.
#[test]
fn a_setting_is_explained_from_every_layer() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let folder = Folder::new("explain")?;
    fs::create_dir(folder.0.join("model"))?;
    // A family's fragment could set it; an instance of a known family does not.
    let instance = ["--instance", "ml.c7g.xlarge"];
    let explain = |variables: &[(&str, &str)], flags: &[&str]| -> anyhow::Result<String> {
        let fixed = ["plan", "--explain", "max_rolling_batch_size"];
        let output = gimbal(&binary, &folder, variables, &[&fixed, &instance[..], flags].concat())?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let said = explain(&[], &[])?;
    assert!(said.contains("= 32 sequences\n") && said.contains("from default: LMI's"), "{said}");
    fs::write(
        folder.0.join("model/serving.properties"),
        "engine=Python\noption.max_rolling_batch_size=64\n",
    )?;
    // The folder has settings and no model yet: only what stands beside it is asked.
    let variables = [("SM_MODEL_DIR", "model")];
    let output =
        gimbal(&binary, &folder, &variables, &["plan", "--explain", "max_rolling_batch_size"])?;
    assert_eq!(output.status.code(), Some(66), "a folder without a model is no model");
    fs::write(folder.0.join("gimbal.yaml"), "# ours\nmax_rolling_batch_size: 16\n")?;
    let said = explain(&[], &[])?;
    assert!(said.contains("= 16 sequences\n") && said.contains("from gimbal.yaml:2"), "{said}");
    let variables = [("OPTION_MAX_ROLLING_BATCH_SIZE", "12")];
    let said = explain(&variables, &[])?;
    assert!(said.contains("from environment OPTION_MAX_ROLLING_BATCH_SIZE"), "{said}");
    let said = explain(&variables, &["--max-rolling-batch-size", "8"])?;
    let expect = "max_rolling_batch_size = 8 sequences\n  Sequences that run together.\n  \
                  from flag --max-rolling-batch-size\n  \
                  overrides 12 from environment OPTION_MAX_ROLLING_BATCH_SIZE\n  \
                  overrides 16 from gimbal.yaml:2\n  overrides 32 from default: LMI's default\n";
    assert!(said.starts_with(expect), "{said}");
    Ok(())
}

/// With a real model beside it, LMI's file is a layer with its line.
#[test]
fn serving_properties_beside_the_model_is_a_layer() -> anyhow::Result<()> {
    let (Some(binary), Some(model)) = (binary_path(), gimbal_conformance::model_path()) else {
        return Ok(());
    };
    let folder = Folder::new("properties")?;
    std::os::unix::fs::symlink(model, folder.0.join("model.gguf"))?;
    let lmi = "engine=Python\noption.entryPoint=djl_python.huggingface\n\
               option.max_rolling_batch_size=64\noption.model_id=/opt/ml/model\n";
    fs::write(folder.0.join("serving.properties"), lmi)?;
    let explain = ["plan", ".", "--explain", "max_rolling_batch_size"];
    let output = gimbal(&binary, &folder, &[], &explain)?;
    let said = String::from_utf8(output.stdout)?;
    assert!(said.contains("= 64 sequences\n"), "{said}");
    assert!(said.contains("from ./serving.properties:3"), "{said}");
    let output = gimbal(&binary, &folder, &[], &["plan", "."])?;
    let said = String::from_utf8(output.stdout)?;
    assert!(said.contains("ignored: engine (./serving.properties:1): one engine"), "{said}");
    assert!(said.contains("ignored: option.entryPoint"), "{said}");
    Ok(())
}

/// What other servers and clusters leave in the environment never stops a start; a slip in a name
/// of ours does, with the name that was meant.
#[test]
fn foreign_variables_never_stop_a_start() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let folder = Folder::new("foreign")?;
    let foreign = [
        ("SERVING_JOB_QUEUE_SIZE", "many"),
        ("OPTION_MAX_ROLLING_BATCH_SIZE", "auto"),
        ("OPTION_ROLLING_BATCH", "vllm"),
        ("SAGEMAKER_BIND_TO_PORT", ""),
        ("SAGEMAKER_PROGRAM", "inference.py"),
        ("HF_MODEL_ID", "meta-llama/Llama-3.2-1B"),
        ("GIMBAL_PORT", "tcp://10.0.0.7:8080"),
        ("GIMBAL_SERVICE_HOST", "10.0.0.7"),
        ("SM_VLLM_SWAP_SPACE", "4"),
        ("SM_VLLM_CHAT_TEMPLATE", "/no/such/template.jinja"),
    ];
    let output = gimbal(&binary, &folder, &foreign, &["plan"])?;
    let said = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in [
        "SERVING_JOB_QUEUE_SIZE",
        "OPTION_ROLLING_BATCH",
        "HF_MODEL_ID",
        "GIMBAL_PORT",
        "SM_VLLM_CHAT_TEMPLATE",
    ] {
        assert!(said.contains(&format!("ignored: {name} ")), "{name} in\n{said}");
    }
    let output = gimbal(&binary, &folder, &[("GIMBAL_JOB_QUEUE_SISE", "1")], &["plan"])?;
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr)?;
    assert!(said.contains("did you mean GIMBAL_JOB_QUEUE_SIZE?"), "{said}");
    Ok(())
}

/// Whatever layer names a key, no way to look at settings shows it.
#[test]
fn a_key_is_taken_and_never_shown() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let folder = Folder::new("secret")?;
    fs::write(folder.0.join("gimbal.yaml"), "api_key: cheese0\n")?;
    let variables = [("VLLM_API_KEY", "cheese1"), ("GIMBAL_API_KEY", "cheese2")];
    for how in [&[][..], &["--json"], &["--explain", "api_key"]] {
        let arguments = [&["plan", "--api-key", "cheese3"], how].concat();
        let output = gimbal(&binary, &folder, &variables, &arguments)?;
        let said = String::from_utf8([output.stdout, output.stderr].concat())?;
        assert!(output.status.success(), "{said}");
        assert!(said.contains("(set)") && !said.contains("cheese"), "{said}");
    }
    let model = folder.0.join("no.gguf").display().to_string();
    let file = folder.0.join("keys").display().to_string();
    for text in [None, Some(""), Some("cheese cheese cheese\n")] {
        if let Some(text) = text {
            fs::write(&file, text)?;
        }
        let arguments = ["serve", &model, "--port", "0", "--api-keys-file", &file];
        let output = gimbal(&binary, &folder, &[], &arguments)?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(64), "{text:?}: {said}");
        assert!(said.contains("api_keys_file (from flag --api-keys-file)"), "{said}");
        assert!(!said.contains("cheese"), "{said}");
    }
    Ok(())
}
