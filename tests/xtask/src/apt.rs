//! Debian's packages: installed where we are root, or only unpacked; apt checks them by the archive's
//! signatures.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::{command, root};

/// With these the archive signs its lists, and those hold each package's SHA-256.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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

/// The name of this machine's release.
pub(crate) fn codename() -> anyhow::Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(codename.context("/etc/os-release names no VERSION_CODENAME")?.to_owned())
}

/// Downloads packages of a component of suites, from the mirror that this machine uses, into a new folder;
/// `NAME:ARCH` is for another processor.
/// The machine's own sources and lists stay as they are.
pub(crate) fn download(
    work: &Path,
    suites: &[&str],
    component: &str,
    packages: &[&str],
) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(work.join("lists/partial")).with_context(|| work.display().to_string())?;
    let work = work.canonicalize()?;
    let mirror = mirror()?;
    let source = |suite: &&str| format!("deb [signed-by={KEYS}] {mirror} {suite} {component}\n");
    let list = work.join("sources.list");
    let sources: String = suites.iter().map(source).collect();
    fs::write(&list, sources).with_context(|| list.display().to_string())?;
    let options = [
        format!("--option=Dir::Etc::sourcelist={}", list.display()),
        "--option=Dir::Etc::sourceparts=-".to_owned(),
        format!("--option=Dir::State::lists={}", work.join("lists").display()),
        format!("--option=Dir::Cache={}", work.display()),
        "--option=APT::Sandbox::User=root".to_owned(),
        format!("--option=APT::Architectures={}", architectures(packages)?),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    get(&work, &[&options[..], &["update", "--quiet"]].concat())?;
    get(&work, &[&options[..], &["download"], packages].concat())?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|e| e == "deb");
    let entries = fs::read_dir(&work)?.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(entries.filter(is_package).collect())
}

/// The machine's own and those that packages name, for apt.
fn architectures(packages: &[&str]) -> anyhow::Result<String> {
    let own = command::output(Command::new("dpkg").arg("--print-architecture"))?;
    let named = packages.iter().filter_map(|package| package.split('=').next()?.split_once(':'));
    let mut all: BTreeSet<&str> = named.map(|(_, arch)| arch).collect();
    all.insert(own.trim());
    Ok(all.into_iter().collect::<Vec<_>>().join(","))
}

/// Unpacks a package's files into `work`, then moves that folder to `home`.
pub(crate) fn extract(package: &Path, work: &Path, home: &Path) -> anyhow::Result<()> {
    command::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(work))?;
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| home.display().to_string())?;
    }
    // A rename is atomic: the folder is whole or not there.
    fs::rename(work, home).with_context(|| home.display().to_string())
}

/// Where this machine gets its own release.
fn mirror() -> anyhow::Result<String> {
    let codename = codename()?;
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)"]);
    targets.args(["Created-By: Packages", &format!("Codename: {codename}")]);
    let mirrors = command::output(&mut targets)?;
    let mirror = mirrors.lines().next().with_context(|| format!("apt knows no {codename}"))?;
    Ok(mirror.to_owned())
}

/// A release's lines of sources, with its updates for security, from where this machine gets them.
pub(crate) fn sources(suite: &str) -> anyhow::Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)"]);
    let known = command::output(targets.arg("Created-By: Packages"))?;
    let of_suite = |line: &&str| {
        let name = line.split(' ').nth(1).unwrap_or_default();
        line.ends_with(" main")
            && (name == suite
                || name
                    .strip_prefix(suite)
                    .is_some_and(|rest| ["-security", "-updates"].contains(&rest)))
    };
    let mut lines: BTreeSet<String> = known
        .lines()
        .filter(of_suite)
        .map(|line| format!("deb [signed-by={KEYS}] {line}\n"))
        .collect();
    if lines.is_empty() {
        lines.insert(format!("deb [signed-by={KEYS}] {} {suite} main\n", mirror()?));
    }
    Ok(lines.into_iter().collect())
}

/// The line of a release's backports, which are beside the release.
pub(crate) fn backports(suite: &str) -> anyhow::Result<String> {
    Ok(format!("deb [signed-by={KEYS}] {} {suite}-backports main\n", mirror()?))
}

/// Runs apt-get in a folder, where it leaves what it downloads.
fn get(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
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
