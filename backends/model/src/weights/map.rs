//! A file mapped read-only; the only place of this crate that touches a file or is `unsafe`.
//!
//! Next: `gguf.rs` reads what is mapped.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

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
        let Range { start, end } = whole_pages(range, rustix::param::page_size());
        let length = end - start;
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

/// What a range has of whole pages of that size: 4, 16 or 64 KiB, as the kernel was built.
fn whole_pages(range: Range<usize>, page: usize) -> Range<usize> {
    let start = range.start.next_multiple_of(page);
    start..(range.end / page * page).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pages_are_let_go() {
        for (range, page, expect) in [
            (0..4096, 4096, 0..4096),
            (1..4095, 4096, 4096..4096),
            (1..8192, 4096, 4096..8192),
            (4096..40960, 16384, 16384..32768),
            (4096..40960, 65536, 65536..65536),
            (4096..200_000, 65536, 65536..196_608),
        ] {
            assert_eq!(whole_pages(range.clone(), page), expect, "{range:?} of {page}");
        }
    }

    /// Whatever pages this machine has, every range of a file can be let go and read again.
    #[test]
    fn what_was_let_go_is_read_again() {
        let path = std::env::temp_dir().join(format!("gimbal-map-{}", std::process::id()));
        let bytes: Vec<u8> = (0..=250).cycle().take(300_001).collect();
        std::fs::write(&path, &bytes).expect("a temporary file");
        let map = Mapping::open(&path).expect("mapped");
        for range in [0..300_001, 1..70_000, 4096..8192, 65_536..131_072, 299_000..300_001] {
            map.release(range);
            assert!(map.bytes() == bytes);
        }
        std::fs::remove_file(&path).expect("ours");
    }
}
