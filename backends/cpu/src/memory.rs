//! Memory that threads share: bytes that weights are views of, a raw view for disjoint writes.
//!
//! Next: `pool.rs` for who writes, `kv_cache.rs` and `store.rs` for what.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;

use memmap2::Mmap;
#[cfg(test)]
use memmap2::MmapMut;
use tracing::debug;

/// Bytes that packed weights are views of.
#[derive(Debug)]
pub(crate) struct Memory(Mmap);

impl Memory {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Memory that was filled.
    pub(crate) const fn new(map: Mmap) -> Self {
        Self(map)
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut map = MmapMut::map_anon(bytes.len()).expect("memory");
        map.copy_from_slice(bytes);
        Self(map.make_read_only().expect("memory"))
    }
}

/// A borrowed buffer that several threads write in disjoint ranges.
#[derive(Debug)]
pub(crate) struct Shared<'a, T> {
    pointer: *mut T,
    len: usize,
    buffer: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shared<'_, T> {}

// SAFETY: a `Shared` only carries a pointer to a buffer that is borrowed for its lifetime; every
// access is `unsafe` and its caller promises that ranges written by one thread are not touched by
// another at the same time.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// A view of `buffer`, which stays mutably borrowed.
    pub(crate) fn new(buffer: &'a mut [T]) -> Self {
        Self { pointer: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// Elements to read.
    ///
    /// # Safety
    /// - No thread writes any of them while the result lives.
    ///
    /// # Panics
    /// If the range does not lie in the buffer.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &'a [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the start lies in the buffer (asserted).
        let start = unsafe { self.pointer.add(range.start) };
        // SAFETY: the range lies in the buffer (asserted), the buffer is alive for 'a, and the
        // caller promises that nobody writes it.
        unsafe { std::slice::from_raw_parts(start, range.len()) }
    }

    /// Elements to write.
    ///
    /// # Safety
    /// - No thread reads or writes any of them while the result lives.
    ///
    /// # Panics
    /// If the range does not lie in the buffer.
    pub(crate) unsafe fn slice_mut(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the start lies in the buffer (asserted).
        let start = unsafe { self.pointer.add(range.start) };
        // SAFETY: the range lies in the buffer (asserted), the buffer is alive for 'a, and the
        // caller promises that nobody else touches it.
        unsafe { std::slice::from_raw_parts_mut(start, range.len()) }
    }
}

/// Weights are read once a step, a sequence's KV too; with pages of 4 KiB looking up the weights'
/// addresses takes an eighth of a step of one row (158 against 180 tokens/s by turns, Zen 3, Linux
/// 6.18, 2026-11). A file is mapped by huge pages where its file system keeps it so (ext4 since
/// Linux 6.16).
pub(crate) fn ask_for_huge_pages(asked: io::Result<()>) {
    if let Err(error) = asked {
        debug!(%error, "memory lies in small pages");
    }
}
