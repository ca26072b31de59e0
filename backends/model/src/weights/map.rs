//! A file mapped read-only; the only place of this crate that touches a file or is `unsafe`.
//!
//! Next: `gguf.rs` reads what is mapped.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

/// Pages are at least this large; where they are larger, less is let go.
const PAGE: usize = 65536;

/// A mapped file, or memory in its place.
#[derive(Debug)]
pub struct Mapping {
    map: memmap2::Mmap,
    /// When the file was last written; `None` for memory.
    modified: Option<SystemTime>,
}

impl Mapping {
    /// Maps a whole file.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        #[expect(unsafe_code, reason = "mapping is how weights are held once in memory")]
        // SAFETY: `Mmap::map` asks that the file is not changed while it is mapped. Gimbal never
        // writes a model file. Where another process does, a changed byte is a wrong weight and a
        // truncated file ends in SIGBUS: the same contract every mapping model server has, stated
        // in SECURITY.md. The mapping is private and read-only, so no Rust reference can write it.
        let map = unsafe { memmap2::Mmap::map(&file) }?;
        let modified = file.metadata()?.modified()?;
        Ok(Self { map, modified: Some(modified) })
    }

    /// Memory that holds `bytes`, for models that lie in no file.
    ///
    /// # Errors
    /// The operating system has no memory.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        // A mapping of length 0 is refused; one byte more is never seen through an entry.
        let mut map = memmap2::MmapMut::map_anon(bytes.len().max(1))?;
        map[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { map: map.make_read_only()?, modified: None })
    }

    /// The file's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// When the file was last written; `None` for memory.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// Lets go of the whole pages of a range; they are read again from the file when needed.
    pub(super) fn release(&self, range: Range<usize>) {
        if self.modified.is_none() {
            return;
        }
        let start = range.start.next_multiple_of(PAGE);
        let length = (range.end / PAGE * PAGE).saturating_sub(start);
        if length == 0 {
            return;
        }
        let advice = memmap2::UncheckedAdvice::DontNeed;
        #[expect(unsafe_code, reason = "the kernel keeps pages it was not told to drop")]
        // SAFETY: `DontNeed` drops changes of private pages; this mapping is read-only and of a
        // file, so dropped pages are read again with the same bytes.
        let done = unsafe { self.map.unchecked_advise_range(advice, start, length) };
        drop(done); // advice that is not taken changes nothing but memory
    }
}
