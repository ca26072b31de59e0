//! `cargo xtask image kubernetes`: manifests against the schemas of Kubernetes and KServe, by packages of
//! theirs; and what images/README.md promises of them. Next: `kubernetes.py`.

use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use anyhow::Context;

use crate::{clients, command, root};

const FOLDER: &str = "images/kubernetes";

/// Runs the command, which is part of the gate.
pub(crate) fn check() -> anyhow::Result<()> {
    let python = clients::install("kubernetes.txt", "schemas of Kubernetes and KServe, 23 MB")?;
    let entries = fs::read_dir(root().join(FOLDER)).context(FOLDER)?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    let mut files: Vec<PathBuf> =
        files.into_iter().filter(|file| file.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    let mut check = Command::new(python.join("python"));
    check.arg(root().join("tests/xtask/src/image/kubernetes.py"));
    command::run(check.arg(root().join("appliance/engine/docs/metrics.md")).args(files))
}
