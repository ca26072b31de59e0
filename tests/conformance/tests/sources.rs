//! What `MODEL` may be, through the real binary: an archive and a model of Hugging Face's cache are
//! served like the folder they are of.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use gimbal_conformance::client::{post, send};
use gimbal_conformance::library_path;
use gimbal_conformance::server::{Server, binary_path};
use serde_json::{Value, json};

/// A tiny model of Hugging Face's files, and what it says of requests.
const FILES: [(&str, &str); 3] = [
    ("families/llama/config.json", "config.json"),
    ("families/llama/model.safetensors", "model.safetensors"),
    ("tokenizers/byte_fallback.json", "tokenizer.json"),
];
const SAID: &str = "option.max_model_len=48\n";

/// A folder that is gone at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

impl Folder {
    fn new(name: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("gimbal-{name}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// The binary, whose caches are here.
    fn gimbal(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.env_clear().env("XDG_CACHE_HOME", self.0.join("cache"));
        command
    }

    /// What a server of that model answers, its names, and the phases of its boot.
    fn served(&self, binary: &Path, model: &Path) -> anyhow::Result<(Value, Value, Value)> {
        let Some(library) = library_path() else { anyhow::bail!("no ONNX Runtime") };
        let mut command = self.gimbal(binary);
        command.arg("serve").arg(model).arg("--onnxruntime").arg(library);
        command.args(["--host=127.0.0.1", "--port=0", "--log-format=json", "--threads=1"]);
        let server = Server::spawn(command)?;
        let request =
            json!({"prompt": [5, 9, 3], "max_tokens": 8, "temperature": 0, "ignore_eos": true});
        let (status, mut answer) = post(server.address, "/v1/completions", &request)?;
        anyhow::ensure!(status == 200, "{answer}");
        let answer = answer["choices"][0]["text"].take();
        let status = send(server.address, "GET", "/status", "")?.text()?;
        let status: Value = serde_json::from_str(&status)?;
        let models = send(server.address, "GET", "/v1/models", "")?.text()?;
        let models: Value = serde_json::from_str(&models)?;
        let phases = status["boot"]["phases"].as_array().into_iter().flatten();
        let phases = phases.map(|phase| phase["phase"].clone()).collect();
        server.terminate()?;
        server.wait()?;
        Ok((answer, models["data"][0].clone(), phases))
    }
}

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden").join(file)
}

/// A `.tar.gz` of the model and what a person adds.
fn packed(to: &Path, added: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(fs::File::create(to)?, Compression::fast()));
    for (from, name) in FILES {
        archive.append_path_with_name(golden(from), name)?;
    }
    for (name, text) in added {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, text.as_bytes())?;
    }
    archive.into_inner()?.finish()?;
    Ok(())
}

#[test]
fn archives_and_snapshots_are_served_like_their_folder() -> anyhow::Result<()> {
    let (Some(binary), Some(_)) = (binary_path(), library_path()) else { return Ok(()) };
    let folder = Folder::new("sources")?;
    let plain = folder.0.join("plain");
    fs::create_dir_all(&plain)?;
    for (from, name) in FILES {
        fs::copy(golden(from), plain.join(name))?;
    }
    fs::write(plain.join("serving.properties"), SAID)?;
    let archive = folder.0.join("tiny.tar.gz");
    packed(&archive, &[("serving.properties", SAID)])?;
    let cache = folder.0.join("models--org--tiny");
    fs::create_dir_all(cache.join("blobs"))?;
    fs::create_dir_all(cache.join("refs"))?;
    fs::create_dir_all(cache.join("snapshots/1f2e"))?;
    fs::write(cache.join("refs/main"), "1f2e")?;
    for entry in fs::read_dir(&plain)? {
        let entry = entry?;
        fs::copy(entry.path(), cache.join("blobs").join(entry.file_name()))?;
        let target = Path::new("../../blobs").join(entry.file_name());
        symlink(target, cache.join("snapshots/1f2e").join(entry.file_name()))?;
    }

    let (expect, of_plain, _) = folder.served(&binary, &plain)?;
    assert_eq!(of_plain["max_model_len"], 48, "{of_plain}");
    let mut inodes = Vec::new();
    for (model, name) in [(&archive, "tiny"), (&archive, "tiny"), (&cache, "org/tiny")] {
        let (answer, found, phases) = folder.served(&binary, model)?;
        assert_eq!((&answer, &found["id"]), (&expect, &json!(name)), "{}", model.display());
        // Its own files say how it is served.
        assert_eq!(found["max_model_len"], 48, "{found}");
        let is_packed = model == &archive;
        let phases: Vec<&str> =
            phases.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(phases.contains(&"unpack"), is_packed, "{phases:?}");
        let kept = fs::read_dir(folder.0.join("cache/gimbal/models"))?.flatten();
        let kept = kept.map(|entry| entry.path().join("model.safetensors")).find(|p| p.exists());
        inodes.push(fs::metadata(kept.unwrap_or_default())?.ino());
    }
    // Unpacked once.
    inodes.dedup();
    assert_eq!(inodes.len(), 1);
    Ok(())
}

/// What commands say of archives, and their exit codes.
#[test]
fn archives_that_are_refused_end_with_a_sentence() -> anyhow::Result<()> {
    let Some(binary) = binary_path() else { return Ok(()) };
    let folder = Folder::new("refused")?;
    let good = folder.0.join("good.tgz");
    packed(&good, &[])?;
    let leaves = folder.0.join("leaves.tar.gz");
    packed(&leaves, &[("../evil", "x")])?;
    let cut = folder.0.join("cut.tar.gz");
    fs::write(&cut, &fs::read(&good)?[..2000])?;
    let other = folder.0.join("other.tar.gz");
    fs::write(&other, "no archive")?;
    let gone = folder.0.join("gone.tar.gz");
    for (model, code, expect) in [
        (&good, 0, "good.tgz: unpacking ("),
        (&leaves, 66, "member ../evil: its path leaves the archive's folder"),
        (&cut, 66, "it ends too early"),
        (&other, 66, "no whole tar.gz"),
        (&gone, 66, "gone.tar.gz"),
    ] {
        for command in ["inspect", "plan"] {
            let output = folder.gimbal(&binary).args([command]).arg(model).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{command} {}: {said}", model.display());
            // The second command finds it unpacked.
            let is_told = code != 0 || command == "inspect";
            assert_eq!(said.contains(expect), is_told, "{command} {}: {said}", model.display());
        }
    }
    assert!(!folder.0.join("cache/gimbal/evil").exists());
    // Nobody else's folder is used.
    fs::set_permissions(folder.0.join("cache/gimbal"), fs::Permissions::from_mode(0o777))?;
    let output = folder.gimbal(&binary).arg("inspect").arg(&good).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("set XDG_CACHE_HOME"), "{said}");
    Ok(())
}
