//! What careless writers leave in a model's files, through the real binary: hints and names that
//! are not there never stop a model, and what is refused is told with its name, its value and
//! without the characters that steer a terminal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gimbal_conformance::server::binary_path;

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A tiny model of Hugging Face's files, and more of them.
fn model(name: &str, files: &[(&str, &[u8])]) -> anyhow::Result<Folder> {
    let path = std::env::temp_dir().join(format!("gimbal-odd-{}-{name}", std::process::id()));
    fs::create_dir_all(&path)?;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden");
    for (from, to) in [
        ("families/llama/config.json", "config.json"),
        ("families/llama/model.safetensors", "model.safetensors"),
        ("tokenizers/byte_fallback.json", "tokenizer.json"),
    ] {
        fs::copy(golden.join(from), path.join(to))?;
    }
    for (file, content) in files {
        fs::write(path.join(file), content)?;
    }
    Ok(Folder(path))
}

/// The exit code and all that was said.
fn inspect(binary: &Path, path: &Path) -> anyhow::Result<(Option<i32>, String)> {
    let output = Command::new(binary).arg("inspect").arg(path).env_clear().output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn hints_and_names_that_are_not_there_never_stop_a_model() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let hints = "generation_config.json";
    let names = "tokenizer_config.json";
    let cases: [(&str, &str, &[u8]); 14] = [
        ("empty", hints, b""),
        ("bom", hints, b"\xEF\xBB\xBF{\"top_k\": 5}"),
        ("comma", hints, b"{\"top_k\": 5,}"),
        ("minus", hints, b"{\"top_k\": -1, \"eos_token_id\": -1}"),
        ("far", hints, b"{\"eos_token_id\": [4294967295, 99999999999999999999]}"),
        ("nan", hints, b"{\"temperature\": NaN, \"top_p\": Infinity}"),
        ("list", hints, b"[]"),
        ("latin", hints, b"{\"author\": \"M\xFCller\"}"),
        ("twice", names, b"{\"bos_token\": \"<x>\", \"eos_token\": null, \"bos_token\": \"<s>\"}"),
        ("bos", names, b"{\"bos_token\": \"<|startoftext|>\"}"),
        ("eos", names, b"{\"eos_token\": {\"content\": \"<|nothing|>\"}, \"add_eos_token\": true}"),
        ("inf", names, b"\xEF\xBB\xBF{\"model_max_length\": Infinity, \"pad_token\": \"<pad>\"}"),
        ("mac", "._model.safetensors", b"\0\x05\x16\x07"),
        ("mmproj", "mmproj-model-f16.gguf", b"GGUF"),
    ];
    for (name, file, content) in cases {
        let folder = model(name, &[(file, content)])?;
        let (code, said) = inspect(&binary, &folder.0)?;
        assert_eq!(code, Some(0), "{name}: {said}");
        let is_told = ["bos", "eos"].contains(&name);
        assert_eq!(said.contains("is not in tokenizer.json"), is_told, "{name}: {said}");
    }
    let folder = model("folder", &[])?;
    fs::create_dir(folder.0.join(hints))?;
    let (code, said) = inspect(&binary, &folder.0)?;
    assert_eq!(code, Some(0), "a folder of that name: {said}");
    // What is not taken is told, with its place.
    for (name, content, expect) in [
        ("told-1", &b"{\"top_k\": -1}"[..], "ignored: top_k ("),
        ("told-2", b"{,}", "ignored: generation_config.json ("),
    ] {
        let folder = model(name, &[(hints, content)])?;
        let output = Command::new(&binary).arg("plan").arg(&folder.0).env_clear().output()?;
        let said = String::from_utf8(output.stdout)?;
        assert!(output.status.success() && said.contains(expect), "{said}");
    }
    Ok(())
}

#[test]
fn what_is_refused_is_named_and_steers_no_terminal() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let config = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/families/llama/config.json"),
    )?;
    let with = |entry: &str| config.replacen('{', &format!("{{{entry},"), 1).into_bytes();
    let cases = [
        (
            "scale",
            with("\"residual_multiplier\": 0.22"),
            "residual_multiplier = 0.22 for model_type llama; known: 1 or no such key",
        ),
        ("new", with("\"a_key_of_tomorrow\": [1]"), "a_key_of_tomorrow = [1]"),
        (
            "escape",
            with("\"a\\u001b]0;owned\\u0007\\u202e\": 1"),
            "a\\u{1b}]0;owned\\u{7}\\u{202e} = 1",
        ),
    ];
    for (name, config, expect) in cases {
        let folder = model(name, &[("config.json", &config)])?;
        let (code, said) = inspect(&binary, &folder.0)?;
        assert_eq!(code, Some(65), "{name}: {said}");
        assert!(said.contains(expect), "{name}: {said}");
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{name}: {said:?}");
    }
    Ok(())
}
