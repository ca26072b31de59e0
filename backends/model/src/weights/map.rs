//! A file mapped read-only; the only place of this crate that touches a file or is `unsafe`.
//!
//! Next: `gguf.rs` reads what is mapped.

use std::fs::File;
use std::io;
use std::path::Path;

/// A mapped file, or memory in its place.
#[derive(Debug)]
pub struct Mapping(memmap2::Mmap);

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
        Ok(Self(map))
    }

    /// Memory that holds `bytes`, for models that lie in no file.
    ///
    /// # Errors
    /// The operating system has no memory.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        // A mapping of length 0 is refused; one byte more is never seen through an entry.
        let mut map = memmap2::MmapMut::map_anon(bytes.len().max(1))?;
        map[..bytes.len()].copy_from_slice(bytes);
        Ok(Self(map.make_read_only()?))
    }

    /// The file's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
