//! Debian's packages: installed where we are root; apt checks them by the archive's signatures.

use std::path::Path;
use std::process::Command;

use crate::{command, root};

/// Another apt-get may be at work, and mirrors hiccup. No answer in so long is none.
const PATIENCE: [&str; 3] =
    ["DPkg::Lock::Timeout=120", "Acquire::Retries=2", "Acquire::http::Timeout=60"];

/// Installs packages, without what they only recommend.
///
/// # Errors
/// What apt-get said, or that only root may.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    if !is_root() {
        anyhow::bail!("only root may install: apt-get install {}", packages.join(" "));
    }
    get(&root(), &["update", "--quiet"])?;
    get(&root(), &[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

/// Runs apt-get in a folder, where it leaves what it downloads.
pub(crate) fn get(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut apt = Command::new("apt-get");
    apt.current_dir(folder).env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    for option in PATIENCE {
        apt.args(["--option", option]);
    }
    command::run(&mut apt)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}
