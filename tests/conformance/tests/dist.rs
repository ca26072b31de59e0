//! The file of `cargo xtask dist`, alone in an empty root with libc, libstdc++ and certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context;
use gimbal_conformance::client::post;
use gimbal_conformance::golden::{self, Greedy};
use gimbal_conformance::server::Server;
use gimbal_conformance::{model_path, path_of};
use serde_json::{Value, json};

/// All that a C++ program needs beside the loader: libc and libstdc++.
const LIBRARIES: [&str; 7] = [
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "libpthread.so.0",
    "libstdc++.so.6",
    "libgcc_s.so.1",
];

/// The loader, by the folder where a program looks for it.
fn loader() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "aarch64" => ("lib", "ld-linux-aarch64.so.1"),
        _ => ("lib64", "ld-linux-x86-64.so.2"),
    }
}

/// Where distributions keep them.
fn folders() -> [String; 5] {
    let arch = std::env::consts::ARCH;
    let own = ["/lib", "/usr/lib"].map(|folder| format!("{folder}/{arch}-linux-gnu"));
    let [first, second] = own;
    ["/lib64".to_owned(), "/lib".to_owned(), first, second, "/usr/lib64".to_owned()]
}

fn root(name: &str) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    let (Some(dist), Some(model)) = (path_of("GIMBAL_TEST_DIST"), model_path()) else {
        return Ok(None);
    };
    let is_root = Command::new("id").arg("-u").output()?.stdout == b"0\n";
    if !is_root {
        gimbal_conformance::skip("the file alone: only root may change the root folder");
        return Ok(None);
    }
    let root = std::env::temp_dir().join(format!("gimbal-root-{}-{name}", std::process::id()));
    for folder in ["lib64", "etc/ssl/certs", "tmp", "opt/ml/model"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let (home, loader) = loader();
    fs::create_dir_all(root.join(home))?;
    let libraries = LIBRARIES.iter().map(|library| ("lib64", *library));
    for (home, library) in libraries.chain([(home, loader)]) {
        let folders = folders();
        let found = folders.iter().map(|folder| Path::new(folder).join(library));
        let found = found.into_iter().find(|path| path.exists());
        let found = found.with_context(|| format!("{library} is not in {folders:?}"))?;
        fs::copy(found, root.join(home).join(library))?;
    }
    let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if certificates.exists() {
        fs::copy(certificates, root.join("etc/ssl/certs/ca-certificates.crt"))?;
    }
    fs::copy(&dist, root.join("gimbal"))?;
    fs::copy(model, root.join("opt/ml/model/SmolLM2-135M-Instruct.Q4_1.gguf"))?;
    Ok(Some((root, dist)))
}

/// A command in the root, without any variable of ours.
fn inside(root: &Path, arguments: &[&str]) -> Command {
    let mut chroot = Command::new("chroot");
    chroot.arg(root).arg("/gimbal").args(arguments).env_clear();
    chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LD_LIBRARY_PATH", "/lib64");
    chroot
}

/// SageMaker's own way to start it: one word, the model where it always is.
#[test]
fn one_file_serves_where_nothing_else_is() -> anyhow::Result<()> {
    let Some((root, dist)) = root("serves")? else { return Ok(()) };
    let bytes = fs::metadata(&dist)?.len();
    eprintln!("{}: {:.1} MiB", dist.display(), bytes as f64 / f64::from(1 << 20));
    assert!(bytes <= 80 << 20, "{bytes} bytes");
    let mut command = inside(&root, &["serve"]);
    command.args(["--host", "127.0.0.1", "--port", "0", "--log-format", "json"]);
    let server = Server::spawn(command)?;
    let golden: Greedy = golden::read("smollm2")?;
    let case = &golden.cases[golden.readme];
    let parameters = json!({ "max_new_tokens": 16, "details": true });
    let body = json!({ "inputs": case.text, "parameters": parameters });
    let (status, answer) = post(server.address, "/invocations", &body)?;
    assert_eq!(status, 200, "{answer}");
    let tokens = answer["details"]["tokens"].as_array().context("tokens")?;
    let ids: Vec<u64> = tokens.iter().filter_map(|token| token["id"].as_u64()).collect();
    let expect: Vec<u64> = case.tokens[..16].iter().copied().map(u64::from).collect();
    assert_eq!(ids, expect, "{answer}");
    server.terminate()?;
    assert_eq!(server.wait()?, Some(0));
    Ok(fs::remove_dir_all(root)?)
}

#[test]
fn licences_and_bill_of_materials_are_inside() -> anyhow::Result<()> {
    let Some((root, _)) = root("notices")? else { return Ok(()) };
    let said = |name: &str| -> anyhow::Result<Output> { Ok(inside(&root, &[name]).output()?) };
    let licences = String::from_utf8(said("licenses")?.stdout)?;
    for part in ["tokio ", "onnxruntime==", "Apache License", "THIRD PARTY", "flate2 "] {
        let found = licences.to_lowercase().contains(&part.to_lowercase());
        assert!(found, "{part} in {} bytes of licences", licences.len());
    }
    let bill: Value = serde_json::from_slice(&said("sbom")?.stdout)?;
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let components = bill["components"].as_array().context("components")?;
    let names: Vec<&str> = components.iter().filter_map(|c| c["name"].as_str()).collect();
    assert!(names.contains(&"axum") && names.contains(&"onnxruntime"), "{names:?}");
    assert!(!names.contains(&"proptest"), "tests are not part of the product");
    Ok(fs::remove_dir_all(root)?)
}

/// What an emulated device writes before all that it says.
const EMULATED: &[u8] = b"EMULATED CUDA";

/// Emulators are for tests: the file holds none of them.
#[test]
fn no_emulated_device_is_inside() -> anyhow::Result<()> {
    let Some(dist) = path_of("GIMBAL_TEST_DIST") else { return Ok(()) };
    let bytes = fs::read(&dist).with_context(|| dist.display().to_string())?;
    assert!(!bytes.windows(EMULATED.len()).any(|window| window == EMULATED));
    // The mark is what the emulator says.
    let source = "../emulators/libcuda/src/driver/state.rs";
    let source = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))?;
    assert!(source.windows(EMULATED.len()).any(|window| window == EMULATED));
    Ok(())
}
