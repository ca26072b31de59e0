//! A root folder as data, and the same bytes of tar for the same tree.
//!
//! Entries are sorted, their times are 0, their owners are numbers: nothing of the machine gets in.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, ensure};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// `OS` of gzip's header: unknown.
const OS_UNKNOWN: u8 = 255;

/// Paths without a `/` at the start, each with what is there.
#[derive(Default)]
pub(super) struct Tree(BTreeMap<String, Node>);

struct Node {
    kind: Kind,
    mode: u32,
    /// User and group.
    owner: u64,
}

enum Kind {
    Folder,
    File(Vec<u8>),
    Link(String),
}

impl Tree {
    /// Puts a folder there.
    pub(super) fn folder(&mut self, path: &str, mode: u32, owner: u64) {
        self.insert(path, Node { kind: Kind::Folder, mode, owner });
    }

    /// Puts a file of root's there.
    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.insert(path, Node { kind: Kind::File(bytes.into()), mode, owner: 0 });
    }

    /// Puts a link there.
    pub(super) fn link(&mut self, path: &str, target: impl Into<String>) {
        self.insert(path, Node { kind: Kind::Link(target.into()), mode: 0o777, owner: 0 });
    }

    /// Folders above it that are missing are root's.
    fn insert(&mut self, path: &str, node: Node) {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        for folder in above {
            let missing = || Node { kind: Kind::Folder, mode: 0o755, owner: 0 };
            self.0.entry(folder.to_owned()).or_insert_with(missing);
        }
        self.0.insert(path.to_owned(), node);
    }

    /// The tree as an archive.
    pub(super) fn archive(&self) -> anyhow::Result<Vec<u8>> {
        let mut builder = Builder::new(Vec::new());
        for (path, node) in &self.0 {
            let mut header = Header::new_ustar();
            header.set_mode(node.mode);
            header.set_uid(node.owner);
            header.set_gid(node.owner);
            header.set_mtime(0);
            header.set_size(0);
            let added = match &node.kind {
                Kind::Folder => {
                    header.set_entry_type(EntryType::Directory);
                    builder.append_data(&mut header, format!("{path}/"), &[][..])
                }
                Kind::File(bytes) => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_size(bytes.len() as u64);
                    builder.append_data(&mut header, path, &bytes[..])
                }
                Kind::Link(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    builder.append_link(&mut header, path, target)
                }
            };
            added.with_context(|| path.clone())?;
        }
        Ok(builder.into_inner()?)
    }

    /// True if something is there, behind links, too.
    pub(super) fn has(&self, path: &str) -> bool {
        self.resolve(path).is_some()
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let mut at = String::new();
        // A chain of links has an end.
        let mut open: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        for _ in 0..64 {
            let Some(step) = open.pop() else { return Some(at) };
            match step.as_str() {
                "" | "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = if at.is_empty() { step } else { format!("{at}/{step}") };
            match &self.0.get(&next)?.kind {
                Kind::Link(target) => {
                    if target.starts_with('/') {
                        at.clear();
                    }
                    open.extend(target.split('/').rev().map(str::to_owned));
                }
                _ => at = next,
            }
        }
        None
    }
}

/// Bytes as gzip, the same for the same bytes.
pub(super) fn compress(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let builder = GzBuilder::new().mtime(0).operating_system(OS_UNKNOWN);
    let mut encoder = builder.write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    let compressed = encoder.finish()?;
    ensure!(!compressed.is_empty(), "gzip wrote nothing");
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(order: &[usize]) -> Tree {
        let mut tree = Tree::default();
        for i in order {
            match i {
                0 => tree.file("usr/lib/a", 0o644, *b"a"),
                1 => tree.link("lib", "usr/lib"),
                2 => tree.folder("tmp", 0o1777, 0),
                _ => tree.folder("var/cache/gimbal", 0o700, 10001),
            }
        }
        tree
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let bytes = |order: &[usize]| compress(&tree(order).archive().expect("tar")).expect("gzip");
        assert_eq!(bytes(&[0, 1, 2, 3]), bytes(&[3, 1, 0, 2]));
        assert_ne!(bytes(&[0, 1, 2, 3]), bytes(&[0, 1, 2]));
    }

    #[test]
    fn an_archive_tells_owners_and_modes_and_no_times() {
        let archive = tree(&[0, 1, 2, 3]).archive().expect("tar");
        let mut told = Vec::new();
        for entry in tar::Archive::new(&archive[..]).entries().expect("entries") {
            let entry = entry.expect("an entry");
            let (header, path) = (entry.header(), entry.path().expect("a path"));
            assert_eq!(header.mtime().expect("a time"), 0);
            let (mode, owner) = (header.mode().expect("a mode"), header.uid().expect("a user"));
            told.push(format!("{} {mode:o} {owner}", path.display()));
        }
        let expect = [
            "lib 777 0",
            "tmp/ 1777 0",
            "usr/ 755 0",
            "usr/lib/ 755 0",
            "usr/lib/a 644 0",
            "var/ 755 0",
            "var/cache/ 755 0",
            "var/cache/gimbal/ 700 10001",
        ];
        assert_eq!(told, expect);
    }

    #[test]
    fn links_are_followed() {
        let mut tree = tree(&[0, 1]);
        tree.link("usr/lib64/b", "../../lib/a");
        tree.link("c", "/usr/lib64/b");
        tree.link("d", "d");
        for (path, is_there) in [("lib/a", true), ("c", true), ("usr/lib64/b", true)] {
            assert_eq!(tree.has(path), is_there, "{path}");
        }
        for path in ["lib/b", "d", "usr/lib/a/../b"] {
            assert!(!tree.has(path), "{path}");
        }
    }
}
