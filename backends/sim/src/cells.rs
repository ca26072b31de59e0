//! The KV cache of the simulated device: what each row left behind, and what a row reads.
//!
//! As real KV does, a cell depends on its own token and on every token before it. Next:
//! `backend.rs`.

use gimbal_batch::{BlockId, Kv, TokenId};

use crate::tokens::{Chain, Row};

/// How carefully KV is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// An output reads every token before it, and compares them with the slot's history.
    All,
    /// An output reads the newest cell, a summary: for long simulations.
    Newest,
}

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
    row: Row,
    /// What was known after this row when it was computed.
    context: Chain,
}

impl Cells {
    pub(crate) fn new(kv: Kv, reads: Reads) -> Self {
        let cells = vec![None; kv.blocks as usize * kv.block_tokens as usize];
        Self { cells, block_tokens: kv.block_tokens, reads }
    }

    /// Leaves a row at `position`.
    pub(crate) fn write(&mut self, table: &[BlockId], position: u32, row: Row) {
        let before = position.checked_sub(1).map(|p| self.at(table, p).context);
        let context = before.unwrap_or_default().then(row);
        let index = self.index(table, position);
        self.cells[index] = Some(Cell { row, context });
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
            let chain = chain.then(cell.row);
            // KV that was computed after other tokens is wrong although its own token is right.
            if cell.context == chain { chain } else { Chain(!cell.context.0) }
        })
    }

    /// What a row after `tokens` should know of them, with what was injected among them: a prefix
    /// that another slot has computed brings its injected rows along.
    pub(crate) fn expected(&self, table: &[BlockId], tokens: &[TokenId], adapter: u64) -> Chain {
        (0..).zip(tokens).fold(Chain::default(), |chain, (position, token)| {
            let injected = self.at(table, position).row.injected;
            chain.then(Row { token: *token, adapter, injected })
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
