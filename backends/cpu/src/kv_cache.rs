//! The paged KV cache, and where each key and value lies in it.
//!
//! Next: `ops/attention.rs` writes it, `kernels/` read it.

use std::io;
use std::ops::Range;

use gimbal_hal::KvDtype;
use gimbal_model::graph::{Graph, State};
use memmap2::{Advice, MmapMut};

use crate::memory::{Shared, ask_for_huge_pages};

/// Tokens of a KV block: one vector of sixteen lanes, or two of eight.
pub const BLOCK_TOKENS: usize = 16;

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
