//! Memory the operators share: a raw view for disjoint writes, the paged KV cache.
//!
//! Next: `pool.rs` for who writes, `ops/` for what.

use std::io;
use std::marker::PhantomData;
use std::ops::Range;

use gimbal_hal::KvDtype;
use gimbal_model::graph::{Graph, State};
use memmap2::{Advice, MmapMut};
use tracing::debug;

/// Tokens of a KV block on this backend: one vector of sixteen lanes, or two of eight.
pub(crate) const BLOCK_TOKENS: usize = 16;

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

/// The paged KV cache of all layers, in huge pages.
///
/// **Layout**: block by block, so that memory is touched when a block is first used. In a block
/// state by state and kv head by kv head: keys transposed `[head_dim][16]`, then values
/// `[16][head_dim]`; of int8 both with the 16 tokens' f32 scales after them.
pub(crate) struct KvCache {
    data: MmapMut,
    states: Vec<StateLayout>,
}

/// Where a state's blocks lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateLayout {
    /// Bytes of a block of all states, and where in it this state begins.
    block: usize,
    offset: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) dtype: KvDtype,
}

impl StateLayout {
    /// Bytes of a number.
    pub(crate) const fn size(self) -> usize {
        match self.dtype {
            KvDtype::F16 => 2,
            KvDtype::Int8 => 1,
        }
    }

    /// Bytes of the numbers of keys (or values) of one block and head; scales follow.
    pub(crate) const fn numbers(self) -> usize {
        self.head_dim * BLOCK_TOKENS * self.size()
    }

    /// Bytes of keys (or values) of one block and head.
    const fn half(self) -> usize {
        let scales = match self.dtype {
            KvDtype::F16 => 0,
            KvDtype::Int8 => BLOCK_TOKENS * size_of::<f32>(),
        };
        self.numbers() + scales
    }

    /// Range of the keys of a block and head; the values follow.
    pub(crate) const fn keys(self, block: usize, head: usize) -> Range<usize> {
        let start = block * self.block + self.offset + head * 2 * self.half();
        start..start + self.half()
    }

    /// Range of the values of a block and head.
    pub(crate) const fn values(self, block: usize, head: usize) -> Range<usize> {
        let end = self.keys(block, head).end;
        end..end + self.half()
    }
}

impl KvCache {
    /// Room for `blocks` blocks of every state.
    ///
    /// # Errors
    /// The system grants no such memory.
    pub(crate) fn new(graph: &Graph, dtype: KvDtype, blocks: usize) -> io::Result<Self> {
        let mut states: Vec<StateLayout> = Vec::with_capacity(graph.states.len());
        let mut offset = 0;
        for state in &graph.states {
            let State::Kv { kv_heads, head_dim, .. } = *state;
            let layout = StateLayout { block: 0, offset, kv_heads, head_dim, dtype };
            offset += kv_heads * 2 * layout.half();
            states.push(layout);
        }
        states.iter_mut().for_each(|state| state.block = offset);
        let data = MmapMut::map_anon(blocks * offset)?;
        ask_for_huge_pages(data.advise(Advice::HugePage));
        Ok(Self { data, states })
    }

    /// The layout of a state and a view of all data.
    pub(crate) fn state(&mut self, state: usize) -> (StateLayout, Shared<'_, u8>) {
        (self.states[state], Shared::new(&mut self.data))
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
