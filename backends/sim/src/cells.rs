//! The KV cache of the simulated device: what each row left behind, and what a row reads.
//!
//! As real KV does, a cell depends on its own token and on every token before it. Next:
//! `backend.rs`.

use gimbal_batch::{AdapterSlot, BlockId, Kv};

use crate::backend::Reads;
use crate::tokens::Chain;

/// Cells for every token that fits the cache.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    /// `None`: nobody wrote here since the device was opened.
    cells: Vec<Option<Cell>>,
    block_tokens: u32,
    reads: Reads,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    token: u32,
    adapter: AdapterSlot,
    /// What was known after this token when it was computed.
    context: Chain,
}

impl Cells {
    pub(crate) fn new(kv: Kv, reads: Reads) -> Self {
        let cells = vec![None; kv.blocks as usize * kv.block_tokens as usize];
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
        let before = position.checked_sub(1).map(|p| self.at(table, p).context);
        let context = before.unwrap_or_default().then(token, adapter);
        let index = self.index(table, position);
        self.cells[index] = Some(Cell { token, adapter, context });
    }

    /// Leaves what a failed row leaves.
    pub(crate) fn spoil(&mut self, table: &[BlockId], position: u32) {
        let index = self.index(table, position);
        let cell = self.cells[index].as_mut().expect("a failed row has written");
        cell.context.0 ^= 0x0bad_0bad;
    }

    /// What a row at `position` knows of its sequence.
    pub(crate) fn read(&self, table: &[BlockId], position: u32) -> Chain {
        if self.reads == Reads::Newest {
            return self.at(table, position).context;
        }
        (0..=position).fold(Chain::default(), |chain, p| {
            let cell = self.at(table, p);
            let chain = chain.then(cell.token, cell.adapter);
            // KV that was computed after other tokens is wrong although its own token is right.
            if cell.context == chain { chain } else { Chain(!cell.context.0) }
        })
    }

    fn at(&self, table: &[BlockId], position: u32) -> Cell {
        let cell = self.cells[self.index(table, position)];
        cell.unwrap_or_else(|| panic!("a row reads KV at position {position} that nobody wrote"))
    }

    fn index(&self, table: &[BlockId], position: u32) -> usize {
        let block = table[(position / self.block_tokens) as usize];
        block.0 as usize * self.block_tokens as usize + (position % self.block_tokens) as usize
    }
}
