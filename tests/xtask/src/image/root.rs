//! What is in a container image: Debian's libraries in one layer, Gimbal in another.
//!
//! The first changes with `images/container/packages.txt` only, so machines keep it.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::Arch;
use super::packages::{Archive, Content};
use super::tree::Tree;
use crate::{command, elf, root};

/// glibc, and what a C++ library asks for; the names that glibc has folded into libc are still asked for
/// by libraries that were linked with older ones.
const LIBRARIES: [&str; 7] = [
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
    "libgcc_s.so.1",
];
/// Files of ours below `images/container/root`.
const OURS: [&str; 3] = ["etc/passwd", "etc/group", "etc/nsswitch.conf"];
/// Files of packages that are taken as they are. A GPU's libraries are mounted where Debian's loader looks
/// if the first of them is there (libnvidia-container, `nvc_container.c`).
const TAKEN: [&str; 3] = ["etc/debian_version", "etc/os-release", "usr/lib/os-release"];
/// Below it each authority's certificate has a file.
const CERTIFICATES: &str = "usr/share/ca-certificates/mozilla/";
/// All of them, where TLS libraries look.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
/// The user of `etc/passwd`.
const USER: u64 = 10001;

/// The layer of Debian's files.
pub(super) fn system(arch: &Arch, archives: &[Archive]) -> anyhow::Result<Tree> {
    let mut tree = Tree::default();
    tree.link("lib", "usr/lib");
    tree.link("lib64", "usr/lib64");
    // Engines mount over these, and a root that is read-only has to have them.
    for folder in ["dev", "proc", "sys", "usr/lib64"] {
        tree.folder(folder, 0o755, 0);
    }
    tree.folder("tmp", 0o1777, 0);
    tree.folder("var/cache/gimbal", 0o700, USER);
    for file in OURS {
        let path = root().join("images/container/root").join(file);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        tree.file(file, 0o644, bytes);
    }
    let triple = format!("{}-linux-gnu", arch.rust);
    let mut certificates = Vec::new();
    for archive in archives {
        let name = archive.package.name;
        // What scanners of images read where there is no dpkg.
        let status = format!("var/lib/dpkg/status.d/{name}");
        tree.file(&status, 0o644, archive.control()?);
        for (path, content) in archive.contents()? {
            if let Some(library) = library(&path, &triple) {
                add(&mut tree, &format!("usr/lib/{triple}/{library}"), 0o755, content);
            } else if is_taken(&path) {
                add(&mut tree, &path, 0o644, content);
            } else if path.starts_with(CERTIFICATES) {
                let Content::File(bytes) = content else { bail!("{path} is a link") };
                certificates.extend(bytes);
            }
        }
    }
    ensure!(!certificates.is_empty(), "ca-certificates has nothing in {CERTIFICATES}");
    tree.file(BUNDLE, 0o644, certificates);
    tree.link(arch.loader, format!("/usr/lib/{triple}/{}", arch.loader_name()));
    Ok(tree)
}

/// The layer of the program, and the library beside it, where it is mapped from: nothing is extracted.
pub(super) fn program(program: &Path, library: &Path) -> anyhow::Result<Tree> {
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let mut tree = Tree::default();
    tree.file("gimbal", 0o755, read(program)?);
    tree.file("libonnxruntime.so", 0o644, read(library)?);
    Ok(tree)
}

/// Everything that is needed must be there, by its name.
pub(super) fn check(arch: &Arch, tree: &Tree, needing: &[&Path]) -> anyhow::Result<()> {
    let triple = format!("usr/lib/{}-linux-gnu", arch.rust);
    for file in needing {
        let found = elf::Header::read(file)?.arch;
        ensure!(found == arch.rust, "{} is for {found}, not {}", file.display(), arch.rust);
        let said = command::output(std::process::Command::new("readelf").arg("-d").arg(file))?;
        for needed in needed(&said) {
            let is_there = tree.has(&format!("{triple}/{needed}"));
            ensure!(is_there, "{} needs {needed}, which the image lacks", file.display());
        }
    }
    let others = LIBRARIES.map(|library| format!("{triple}/{library}"));
    let others = others.iter().map(String::as_str).chain(TAKEN).chain([arch.loader, BUNDLE]);
    let licences = ["libc6", "libstdc++6", "libgcc-s1", "ca-certificates"];
    let licences = licences.map(|package| format!("usr/share/doc/{package}/copyright"));
    for path in others.chain(licences.iter().map(String::as_str)) {
        ensure!(tree.has(path), "the image lacks {path}");
    }
    Ok(())
}

/// A library's name, if a path is one that the image has, or what its link leads to.
fn library<'a>(path: &'a str, triple: &str) -> Option<&'a str> {
    let path = path.strip_prefix("usr/").unwrap_or(path);
    let name = path.strip_prefix("lib/")?.strip_prefix(triple)?.strip_prefix('/')?;
    let is_loader = name.starts_with("ld-linux-");
    let is_wanted = |library: &str| {
        name.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    (is_loader || LIBRARIES.iter().any(|library| is_wanted(library))).then_some(name)
}

/// Licences, and [`TAKEN`].
fn is_taken(path: &str) -> bool {
    let is_licence = path.starts_with("usr/share/common-licenses/");
    // A folder of another package may hold it: that folder is a link.
    let is_copyright = path
        .strip_prefix("usr/share/doc/")
        .is_some_and(|rest| rest.ends_with("/copyright") || !rest.contains('/'));
    is_licence || is_copyright || TAKEN.contains(&path)
}

fn add(tree: &mut Tree, path: &str, mode: u32, content: Content) {
    match content {
        Content::File(bytes) => tree.file(path, mode, bytes),
        Content::Link(target) => tree.link(path, target),
    }
}

/// Of what `readelf -d` prints: `0x0000000000000001 (NEEDED)  Shared library: [libc.so.6]`.
fn needed(said: &str) -> impl Iterator<Item = &str> {
    let lines = said.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_wherever_a_package_has_them() {
        let of = |path| library(path, "x86_64-linux-gnu");
        assert_eq!(of("lib/x86_64-linux-gnu/libc.so.6"), Some("libc.so.6"));
        let whole = "usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30";
        assert_eq!(of(whole), Some("libstdc++.so.6.0.30"));
        assert!(of("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2").is_some());
        for other in ["lib/x86_64-linux-gnu/libnss_dns.so.2", "lib/aarch64-linux-gnu/libc.so.6"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn licences_are_taken() {
        for path in ["usr/share/doc/libc6/copyright", "usr/share/doc/libstdc++6", TAKEN[0]] {
            assert!(is_taken(path), "{path}");
        }
        for path in ["usr/share/doc/libc6/changelog.gz", "usr/sbin/update-ca-certificates"] {
            assert!(!is_taken(path), "{path}");
        }
    }

    #[test]
    fn what_a_file_needs_is_read() {
        let said = " 0x1 (NEEDED)             Shared library: [libc.so.6]\n 0xe (SONAME) [x]\n";
        assert_eq!(needed(said).collect::<Vec<_>>(), ["libc.so.6"]);
    }
}
