//! The KV cache of the simulated device: what each row left behind, and what a row reads.
//!
//! Next: `backend.rs`.

use gimbal_batch::{AdapterSlot, BlockId, Kv};

use crate::backend::Reads;
use crate::tokens::Chain;

/// Nobody wrote here since the device was opened.
const EMPTY: u64 = u64::MAX;

/// One number for every token that fits the cache.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    cells: Vec<u64>,
    block_tokens: u32,
    reads: Reads,
}

impl Cells {
    pub(crate) fn new(kv: Kv, reads: Reads) -> Self {
        let cells = vec![EMPTY; kv.blocks as usize * kv.block_tokens as usize];
        Self { cells, block_tokens: kv.block_tokens, reads }
    }

    /// Leaves a token at `position`.
    pub(crate) fn write(
        &mut self,
        table: &[BlockId],
        position: u32,
        token: u32,
        adapter: AdapterSlot,
    ) {
        let value = match self.reads {
            Reads::All => u64::from(token) | u64::from(adapter.0) << 32,
            Reads::Newest => {
                let before = position.checked_sub(1).map(|p| Chain(self.at(table, p)));
                before.unwrap_or_default().then(token, adapter).0 >> 1
            }
        };
        let index = self.index(table, position);
        self.cells[index] = value;
    }

    /// Leaves what a failed row leaves.
    pub(crate) fn spoil(&mut self, table: &[BlockId], position: u32) {
        let index = self.index(table, position);
        self.cells[index] ^= 0x0bad_0bad;
    }

    /// What a row at `position` knows of its sequence.
    pub(crate) fn read(&self, table: &[BlockId], position: u32) -> Chain {
        match self.reads {
            Reads::All => (0..=position).fold(Chain::default(), |chain, p| {
                let cell = self.at(table, p);
                let token = u32::try_from(cell & 0xffff_ffff).expect("32 bits");
                let adapter = u16::try_from(cell >> 32).expect("only 16 bits were written");
                chain.then(token, AdapterSlot(adapter))
            }),
            Reads::Newest => Chain(self.at(table, position)),
        }
    }

    fn at(&self, table: &[BlockId], position: u32) -> u64 {
        let cell = self.cells[self.index(table, position)];
        assert_ne!(cell, EMPTY, "a row reads KV at position {position} that nobody wrote");
        cell
    }

    fn index(&self, table: &[BlockId], position: u32) -> usize {
        let block = table[(position / self.block_tokens) as usize];
        block.0 as usize * self.block_tokens as usize + (position % self.block_tokens) as usize
    }
}
