//! `cargo xtask image check`: the image by other programs' eyes, and running.
//!
//! It is written twice with one digest; skopeo and umoci read it; unpacked it serves (`inside`) what the
//! golden file says; and it is timed beside the bare binary (`pace`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::inside::{self, Inside};
use super::{Arch, Built, Part, assemble, hex, home, pace};
use crate::served::{self, Served};
use crate::{apt, arm64, command, root};

const READERS: [&str; 2] = ["skopeo", "umoci"];
const GOLDEN: &str = "tests/golden/smollm2.json";
/// Tokens that are compared; emulated ones take seconds each.
const TOKENS: usize = 16;
const TOKENS_EMULATED: usize = 4;

/// Runs the command.
pub(super) fn run(arches: &[&'static Arch]) -> anyhow::Result<()> {
    if READERS.iter().any(|reader| !command::succeeds(reader, &["--version"])) {
        apt::install(&READERS).context("readers of images")?;
    }
    let parts = arches.iter().map(|arch| Part::make(arch)).collect::<anyhow::Result<Vec<_>>>()?;
    let home = home(arches);
    let work = home.with_extension("check");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
    }
    let built = assemble(&parts, &home)?;
    let again = assemble(&parts, &work.join("again"))?;
    ensure!(built.digest == again.digest, "{}, then {}", built.digest, again.digest);
    eprintln!("written twice: {}", built.digest);
    read_by_skopeo(&built, arches, &work)?;
    for part in &parts {
        let mut inside = unpacked(&built, part.arch, &work)?;
        if !part.arch.is_here() {
            let emulator = in_path(&arm64::emulator()?)?;
            inside.emulated(&emulator, &["-cpu", "neoverse-v1"])?;
        }
        serve(&inside, part)?;
        if part.arch.is_here() {
            pace::compare(&inside, part, &work)?;
        }
    }
    fs::remove_dir_all(&work).with_context(|| work.display().to_string())
}

/// Copies all of it, which checks every digest and size, and asks for each image.
fn read_by_skopeo(built: &Built, arches: &[&'static Arch], work: &Path) -> anyhow::Result<()> {
    let name = format!("oci:{}:{}", built.layout.display(), built.version);
    let copy = work.join("copy");
    let target = format!("dir:{}", copy.display());
    command::run(Command::new("skopeo").args(["copy", "--quiet", "--all", &name, &target]))?;
    let index = fs::read(copy.join("manifest.json")).context("skopeo's copy")?;
    let found = format!("sha256:{}", hex(&Sha256::digest(index)));
    ensure!(found == built.digest, "skopeo copied {found}, not {}", built.digest);
    for arch in arches {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--override-arch", arch.oci, "inspect", &name]);
        let said: Value = serde_json::from_str(&command::output(&mut skopeo)?)?;
        ensure!(said["Architecture"] == arch.oci, "skopeo says {}", said["Architecture"]);
        let layers = said["Layers"].as_array().map_or(0, Vec::len);
        ensure!(layers == 2, "skopeo sees {layers} layers");
    }
    eprintln!("skopeo read it");
    Ok(())
}

/// What umoci makes of one image.
fn unpacked(built: &Built, arch: &Arch, work: &Path) -> anyhow::Result<Inside> {
    let bundle = work.join(arch.oci);
    let image = format!("{}:{}-{}", built.layout.display(), built.version, arch.oci);
    command::run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
    let inside = Inside::new(&bundle)?;
    ensure!(inside.words("args")? == ["/gimbal", "serve"], "{:?}", inside.words("args")?);
    let user = json!({ "uid": 10001, "gid": 10001 });
    ensure!(*inside.user() == user, "umoci says the user is {}", inside.user());
    eprintln!("umoci unpacked it");
    Ok(inside)
}

/// Serves the default model and compares what it says.
fn serve(inside: &Inside, part: &Part) -> anyhow::Result<()> {
    let tokens = if part.arch.is_here() { TOKENS } else { TOKENS_EMULATED };
    let variables = [("GIMBAL_PORT", "0"), ("GIMBAL_LOG_FORMAT", "json")];
    let mut served = Served::start(&mut inside.command(&part.assets.model, None, &variables)?)?;
    served.wait_warm(Duration::from_millis(50))?;
    let pid = inside::process(served.process.id())?;
    let ping = served.ask("GET", "/ping", "")?;
    ensure!(ping.starts_with("HTTP/1.1 200 ") && ping.ends_with("\r\n\r\n"), "/ping: {ping}");
    let (text, expected) = golden(tokens)?;
    let parameters = json!({ "max_new_tokens": tokens, "details": true });
    let body = json!({ "inputs": text, "parameters": parameters });
    let answer = served.ask("POST", "/invocations", &body.to_string())?;
    ensure!(served::status(&answer)? == 200, "/invocations: {answer}");
    let (_, said) = answer.split_once("\r\n\r\n").context("a body")?;
    let said: Value = serde_json::from_str(said).with_context(|| answer.clone())?;
    let said = said["details"]["tokens"].as_array().context("details.tokens")?;
    let said: Vec<&Value> = said.iter().map(|token| &token["id"]).collect();
    ensure!(said == expected.iter().collect::<Vec<_>>(), "{said:?}, not {expected:?} of {GOLDEN}");
    served.end(pid)?;
    let user = inside::USER;
    eprintln!(
        "{}: user {user}, no capabilities, a root that is read-only: {tokens} tokens are \
               those of {GOLDEN}",
        part.arch.oci
    );
    Ok(())
}

/// The README's text and what the default model says to it.
pub(super) fn golden(tokens: usize) -> anyhow::Result<(Value, Vec<Value>)> {
    let golden = fs::read(root().join(GOLDEN)).context(GOLDEN)?;
    let golden: Value = serde_json::from_slice(&golden).context(GOLDEN)?;
    let readme =
        golden["readme"].as_u64().and_then(|at| usize::try_from(at).ok()).context(GOLDEN)?;
    let case = &golden["cases"][readme];
    let expected = case["tokens"].as_array().and_then(|all| all.get(..tokens)).context(GOLDEN)?;
    Ok((case["text"].clone(), expected.to_vec()))
}

/// A program's path.
fn in_path(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program));
    match found.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{program} is not in PATH"),
    }
}
