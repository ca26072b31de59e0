//! qemu's user mode: the machine's where it is new enough, else Debian's, unpacked into the cache.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::{apt, assets};

/// Older ones show the processor of the machine below in `/proc/cpuinfo`.
const MAJOR_MIN: u32 = 10;
const PROGRAM: &str = "qemu-aarch64";
const PACKAGE: &str = "qemu-user";

/// The program, if need be after fetching it.
pub(super) fn ensure() -> anyhow::Result<String> {
    let home = assets::cache()?.join(PACKAGE);
    let cached = home.join("usr/bin").join(PROGRAM);
    let cached = cached.to_str().context("the cache's path is not UTF-8")?.to_owned();
    let known = [PROGRAM.to_owned(), format!("{PROGRAM}-static"), cached.clone()];
    if let Some(found) = known.into_iter().find(|program| is_new_enough(program)) {
        return Ok(found);
    }
    eprintln!("fetching {PACKAGE}, 63 MB, into {}", home.display());
    fetch(&home).with_context(|| {
        format!("{PROGRAM} {MAJOR_MIN} or later is needed: apt-get install {PACKAGE}")
    })?;
    if !is_new_enough(&cached) {
        bail!("{cached} is older than version {MAJOR_MIN} or does not run");
    }
    Ok(cached)
}

fn is_new_enough(program: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    let major = output.ok().and_then(|output| major(&String::from_utf8_lossy(&output.stdout)));
    major.is_some_and(|major| major >= MAJOR_MIN)
}

/// Of `qemu-aarch64 version 10.0.2 (Debian …)`.
fn major(version: &str) -> Option<u32> {
    version.split_once(" version ")?.1.split('.').next()?.parse().ok()
}

/// Takes the package from the backports of this release. The program is static, so nothing is installed.
fn fetch(home: &Path) -> anyhow::Result<()> {
    let work = home.with_extension(format!("{}.part", std::process::id()));
    let suite = format!("{}-backports", apt::codename()?);
    let outcome = apt::download(&work, &[&suite], "main", &[PACKAGE]).and_then(|packages| {
        let package = packages.first().context("apt-get downloaded nothing")?;
        apt::extract(package, &work.join("files"), home)
    });
    // What is left of it is of no use; the outcome is what matters.
    drop(fs::remove_dir_all(&work));
    outcome
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_read() {
        let text = "qemu-aarch64 version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright";
        assert_eq!(super::major(text), Some(10));
        assert_eq!(super::major("qemu-aarch64: command not found"), None);
    }
}
