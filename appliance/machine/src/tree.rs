//! Files below a root folder, read within bounds; what cannot be read is absent.
//!
//! Regular files only: a pipe in the place of a file must not make the reader wait.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes of one file; `/proc/cpuinfo` of 384 threads has about 600 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a file's beginning.
const BEGINNING_BYTES: u64 = 4 << 10;
/// Most names of one folder.
const NAMES_MAX: usize = 4096;

/// A root folder, `/` in production.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree<'a>(pub(crate) &'a Path);

impl Tree<'_> {
    /// A file's text; bytes that are no UTF-8 are replaced.
    pub(crate) fn text(self, path: &str) -> Option<String> {
        self.read(path, FILE_BYTES_MAX)
    }

    /// The beginning of a file that the kernel makes while it is read, at a cost.
    pub(crate) fn beginning(self, path: &str) -> Option<String> {
        self.read(path, BEGINNING_BYTES)
    }

    fn read(self, path: &str, most: u64) -> Option<String> {
        let path = self.path(path);
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        // A file that fails half-way has said something all the same.
        let ended = File::open(path).ok()?.take(most).read_to_end(&mut bytes);
        (ended.is_ok() || !bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file's text without blanks around it; `None` where nothing is left.
    pub(crate) fn word(self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        let word = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// A whole number that is all there is in a file.
    pub(crate) fn number(self, path: &str) -> Option<u64> {
        self.word(path)?.parse().ok()
    }

    /// A hexadecimal number such as `0x10de`.
    pub(crate) fn hex(self, path: &str) -> Option<u32> {
        u32::from_str_radix(self.word(path)?.trim_start_matches("0x"), 16).ok()
    }

    /// Names in a folder, sorted; numbers by value.
    pub(crate) fn names(self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.take(NAMES_MAX).filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    /// True where there is a file, folder or device.
    pub(crate) fn exists(self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Last name of a symbolic link's target; the target need not exist.
    pub(crate) fn link_name(self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    fn path(self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }
}
