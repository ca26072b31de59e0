//! Debian's packages that an image is made of: pinned, fetched once, read from their archives.
//!
//! `images/container/packages.txt` is the list. Nothing is installed, and nothing of them is run.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::Arch;
use crate::{apt, assets, command};

const LIST: &str = include_str!("../../../../images/container/packages.txt");
/// The release of all that images take.
pub(super) const SUITE: &str = "bookworm";
/// What is for every processor.
const ALL: &str = "all";

/// A package of the list.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) arch: &'static str,
    pub(super) sha256: &'static str,
}

/// What a path of a package is.
pub(super) enum Content {
    File(Vec<u8>),
    Link(String),
}

/// A package that is here.
pub(super) struct Archive {
    pub(super) package: Package,
    path: PathBuf,
}

/// The packages for a processor, fetched where they are missing.
pub(super) fn fetch(arch: &Arch) -> anyhow::Result<Vec<Archive>> {
    let packages = listed(LIST)?;
    let wanted: Vec<Package> = packages.into_iter().filter(|p| p.is_for(arch)).collect();
    let mut missing = Vec::new();
    for package in &wanted {
        if !package.home()?.is_file() {
            missing.push(package);
        }
    }
    if !missing.is_empty() {
        eprintln!("fetching {} packages of Debian for {}", missing.len(), arch.oci);
        let work = assets::cache()?.join(format!("debian-{}.part", std::process::id()));
        let outcome = download(&work, &missing);
        // What is left of it is of no use; the outcome is what matters.
        drop(fs::remove_dir_all(&work));
        outcome.with_context(|| {
            "cannot fetch what images/container/packages.txt pins; where the archive has newer \
             versions, pin those"
        })?;
    }
    let archive = |package: Package| {
        let path = package.home()?;
        package.check(&path)?;
        Ok(Archive { package, path })
    };
    wanted.into_iter().map(archive).collect()
}

fn listed(list: &'static str) -> anyhow::Result<Vec<Package>> {
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let package = |line: &'static str| match line.split(' ').collect::<Vec<_>>()[..] {
        [name, version, arch, sha256] if sha256.len() == 64 => {
            Ok(Package { name, version, arch, sha256 })
        }
        _ => bail!("images/container/packages.txt: {line:?} is no package"),
    };
    lines.map(package).collect()
}

fn download(work: &Path, packages: &[&Package]) -> anyhow::Result<()> {
    let named: Vec<String> = packages.iter().map(|package| package.requirement()).collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    for file in apt::download(work, &[SUITE], "main", &named)? {
        let found = sha256_of(&file)?;
        let package = packages.iter().find(|package| package.sha256 == found);
        let package = package.with_context(|| {
            format!("{} has the SHA-256 {found}, which is not pinned", file.display())
        })?;
        let home = package.home()?;
        let folder = home.parent().context("a file in a folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        // A rename is atomic: the file is whole or not there.
        fs::rename(&file, &home).with_context(|| home.display().to_string())?;
    }
    for package in packages {
        ensure!(package.home()?.is_file(), "{} was not downloaded", package.requirement());
    }
    Ok(())
}

fn sha256_of(file: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    Ok(super::hex(&Sha256::digest(&bytes)))
}

impl Package {
    fn is_for(&self, arch: &Arch) -> bool {
        self.arch == arch.oci || self.arch == ALL
    }

    /// As apt-get names it.
    fn requirement(&self) -> String {
        match self.arch {
            ALL => format!("{}={}", self.name, self.version),
            arch => format!("{}:{arch}={}", self.name, self.version),
        }
    }

    fn home(&self) -> anyhow::Result<PathBuf> {
        Ok(assets::cache()?.join("debian").join(format!("{}.deb", self.sha256)))
    }

    /// A cache may be old, or somebody else's.
    fn check(&self, path: &Path) -> anyhow::Result<()> {
        let found = sha256_of(path)?;
        let (shown, pinned) = (path.display(), self.sha256);
        ensure!(found == pinned, "{shown} has the SHA-256 {found}, not {pinned}; remove it");
        Ok(())
    }

    /// Its name among all packages there are.
    pub(super) fn purl(&self) -> String {
        let version = self.version.replace('+', "%2B");
        format!("pkg:deb/debian/{}@{version}?arch={}&distro={SUITE}", self.name, self.arch)
    }
}

impl Archive {
    /// What its author says of it.
    pub(super) fn control(&self) -> anyhow::Result<String> {
        command::output(Command::new("dpkg-deb").arg("--field").arg(&self.path))
    }

    /// Its files and links, by their paths without a `/` at the start.
    pub(super) fn contents(&self) -> anyhow::Result<BTreeMap<String, Content>> {
        let mut reader = Command::new("dpkg-deb");
        reader.arg("--fsys-tarfile").arg(&self.path);
        let output = reader.output().context("cannot start dpkg-deb")?;
        let shown = || self.path.display().to_string();
        ensure!(output.status.success(), "dpkg-deb cannot read {}", shown());
        let mut contents = BTreeMap::new();
        for entry in tar::Archive::new(&output.stdout[..]).entries()? {
            let mut entry = entry.with_context(shown)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").to_owned();
            let kind = entry.header().entry_type();
            if kind.is_file() {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).with_context(shown)?;
                contents.insert(path, Content::File(bytes));
            } else if let Some(target) = entry.link_name_bytes() {
                let target = String::from_utf8_lossy(&target).into_owned();
                contents.insert(path, Content::Link(target));
            }
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ARCHES;

    #[test]
    fn the_list_is_the_same_for_every_processor() {
        let packages = listed(LIST).expect("packages");
        assert!(packages.is_sorted_by_key(|p| (p.name, p.arch)), "sorted");
        let names = ARCHES.each_ref().map(|arch| {
            let own = packages.iter().filter(|package| package.is_for(arch));
            own.map(|package| (package.name, package.version)).collect::<Vec<_>>()
        });
        assert_eq!(names[0], names[1]);
        assert!(names[0].iter().any(|(name, _)| *name == "libc6"));
    }

    #[test]
    fn a_line_that_is_no_package_is_refused() {
        for line in ["libc6 2.36 amd64", "libc6 2.36 amd64 0123", "libc6  2.36 amd64 x y"] {
            assert!(listed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn packages_are_named_as_apt_and_scanners_do() {
        let sha256 = "";
        let package = Package { name: "libc6", version: "2.36-9+deb12u14", arch: "arm64", sha256 };
        assert_eq!(package.requirement(), "libc6:arm64=2.36-9+deb12u14");
        let purl = "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=arm64&distro=bookworm";
        assert_eq!(package.purl(), purl);
        let package = Package { arch: ALL, ..package };
        assert_eq!(package.requirement(), "libc6=2.36-9+deb12u14");
    }
}
