//! qemu's user mode: the machine's where it is new enough, else Debian's, unpacked into the cache.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::{apt, assets, command};

/// Older ones show the processor of the machine below in `/proc/cpuinfo`.
const MAJOR_MIN: u32 = 10;
const PROGRAM: &str = "qemu-aarch64";
const PACKAGE: &str = "qemu-user";
/// With these the archive signs its lists, and those hold the package's SHA-256.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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

/// Takes the package from the backports of this release, from the mirror that this machine uses.
/// The program is static, so nothing is installed.
fn fetch(home: &Path) -> anyhow::Result<()> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.context("/etc/os-release names no VERSION_CODENAME")?;
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)"]);
    targets.args(["Created-By: Packages", &format!("Codename: {codename}")]);
    let mirrors = command::output(&mut targets)?;
    let mirror = mirrors.lines().next().with_context(|| format!("apt knows no {codename}"))?;
    let source = format!("deb [signed-by={KEYS}] {mirror} {codename}-backports main\n");
    let work = home.with_extension(format!("{}.part", std::process::id()));
    let outcome = unpack(&work, &source, home);
    // What is left of it is of no use; the outcome is what matters.
    drop(fs::remove_dir_all(&work));
    outcome
}

/// Downloads with one source and lists of its own; those of the machine stay as they are.
fn unpack(work: &Path, source: &str, home: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(work.join("lists/partial")).with_context(|| work.display().to_string())?;
    let work = work.canonicalize()?;
    let list = work.join("sources.list");
    fs::write(&list, source).with_context(|| list.display().to_string())?;
    let options = [
        format!("--option=Dir::Etc::sourcelist={}", list.display()),
        "--option=Dir::Etc::sourceparts=-".to_owned(),
        format!("--option=Dir::State::lists={}", work.join("lists").display()),
        format!("--option=Dir::Cache={}", work.display()),
        "--option=APT::Sandbox::User=root".to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    apt::get(&work, &[&options[..], &["update", "--quiet"]].concat())?;
    apt::get(&work, &[&options[..], &["download", PACKAGE]].concat())?;
    let is_package = |path: &Path| path.extension().is_some_and(|e| e == "deb");
    let mut entries = fs::read_dir(&work)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = entries.find(|path| is_package(path)).context("apt-get downloaded nothing")?;
    let files = work.join("files");
    command::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&files))?;
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| home.display().to_string())?;
    }
    // A rename is atomic: the folder is whole or not there.
    fs::rename(&files, home).with_context(|| home.display().to_string())
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
