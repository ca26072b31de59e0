//! Memory the operators share: a raw view for disjoint writes, the paged KV cache.
//!
//! Next: `pool.rs` for who writes, `ops/` for what.

use std::marker::PhantomData;
use std::ops::Range;

use gimbal_model::graph::{Graph, State};

/// Tokens of a KV block on this backend: two vectors of eight lanes.
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

/// The paged KV cache of all layers, f16.
///
/// **Layout** of a block of one state and kv head: keys transposed `[head_dim][16]`, then values
/// `[16][head_dim]`. Memory is touched when a block is first used.
pub(crate) struct KvCache {
    data: Vec<u16>,
    states: Vec<StateLayout>,
}

/// Where a state's blocks lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateLayout {
    offset: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

impl StateLayout {
    /// f16 elements of keys (or values) of one block and head.
    fn half(self) -> usize {
        self.head_dim * BLOCK_TOKENS
    }

    /// Range of the keys of a block and head; the values follow.
    pub(crate) fn keys(self, block: usize, head: usize) -> Range<usize> {
        let start = self.offset + (block * self.kv_heads + head) * 2 * self.half();
        start..start + self.half()
    }

    /// Range of the values of a block and head.
    pub(crate) fn values(self, block: usize, head: usize) -> Range<usize> {
        let end = self.keys(block, head).end;
        end..end + self.half()
    }
}

impl KvCache {
    /// Room for `blocks` blocks of every state.
    pub(crate) fn new(graph: &Graph, blocks: usize) -> Self {
        let mut offset = 0;
        let mut place = |state: &State| {
            let State::Kv { kv_heads, head_dim, .. } = *state;
            let layout = StateLayout { offset, kv_heads, head_dim };
            offset += blocks * kv_heads * 2 * layout.half();
            layout
        };
        let states = graph.states.iter().map(&mut place).collect();
        Self { data: vec![0; offset], states }
    }

    /// The layout of a state and a view of all data.
    pub(crate) fn state(&mut self, state: usize) -> (StateLayout, Shared<'_, u16>) {
        (self.states[state], Shared::new(&mut self.data))
    }
}

/// Bytes one token takes in the cache.
pub(crate) fn kv_bytes_per_token(graph: &Graph) -> u64 {
    2 * graph.kv_elements_per_token() as u64
}
