//! A batch as the nodes read it: positions, tables and tiles, worked out once a step.

use std::sync::Arc;

use gimbal_batch::{Batch, BlockId, Output, TokenId, Want};
use gimbal_model::graph::RopeTable;

use crate::kv_cache::BLOCK_TOKENS;

/// Rows a tile may hold; keys of a block are then read once for them.
const TILE_ROWS: usize = 8;

/// One step.
#[derive(Default)]
pub(super) struct Plan {
    /// Token of each row.
    pub(super) ids: Vec<TokenId>,
    /// Position of each row.
    pub(super) positions: Vec<u32>,
    /// Block of the cache that each row's key and value go to.
    pub(super) written: Vec<usize>,
    /// Row of each output that needs its logits.
    pub(super) outputs: Vec<usize>,
    /// The other outputs.
    pub(super) scored: Vec<Scored>,
    /// Runs of rows of one sequence.
    pub(super) tiles: Vec<Tile>,
    /// Block tables of all parts.
    pub(super) blocks: Vec<BlockId>,
    /// True when no sequence has two rows, so that a tile may write what it reads.
    pub(super) is_decode: bool,
    /// Cosines and sines, `[rope][row][pair]`.
    pub(super) angles: Vec<Vec<[f32; 2]>>,
}

/// A row that is only asked how probable tokens are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) row: usize,
    pub(super) ids: Arc<[TokenId]>,
    /// Alternatives to report.
    pub(super) top: u8,
}

/// A few rows of one sequence.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    pub(super) first: usize,
    pub(super) rows: usize,
    /// Range of the sequence's table in `Plan::blocks`.
    pub(super) table: std::ops::Range<usize>,
}

impl Plan {
    pub(super) fn read(&mut self, batch: &Batch, ids: &[TokenId], ropes: &[RopeTable]) {
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.positions.clear();
        self.written.clear();
        self.tiles.clear();
        self.blocks.clear();
        self.blocks.extend_from_slice(&batch.blocks);
        self.outputs.clear();
        self.scored.clear();
        for Output { row, want, .. } in &batch.outputs {
            let row = *row as usize;
            match want {
                Want::Score { ids, top } => {
                    self.scored.push(Scored { row, ids: Arc::clone(ids), top: *top });
                }
                Want::Sample | Want::Row => self.outputs.push(row),
            }
        }
        self.is_decode = batch.parts.iter().all(|p| p.rows == 1);
        for part in &batch.parts {
            let (first, rows) = (self.positions.len(), part.rows as usize);
            self.positions.extend(part.start..part.start + part.rows);
            let written = part.blocks.start as usize;
            self.written.extend(self.positions[first..].iter().map(|position| {
                self.blocks[written + *position as usize / BLOCK_TOKENS].0 as usize
            }));
            let table = part.blocks.start as usize..part.blocks.end as usize;
            self.tiles.extend((0..rows).step_by(TILE_ROWS).map(|at| Tile {
                first: first + at,
                rows: TILE_ROWS.min(rows - at),
                table: table.clone(),
            }));
        }
        self.angles.resize(ropes.len(), Vec::new());
        for (angles, rope) in self.angles.iter_mut().zip(ropes) {
            angles.clear();
            angles
                .extend(self.positions.iter().flat_map(|p| rope.angles(*p)).map(<[f32; 2]>::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use gimbal_batch::{AdapterSlot, Part, SeqSlot};

    use super::*;

    /// Parts of several tiles over tables that are not in order.
    #[test]
    fn each_row_knows_its_block_and_stands_in_one_tile() {
        let tables: [&[u32]; 3] = [&[7, 3], &[5], &[9, 1, 4]];
        let parts = [(0, 20), (4, 1), (15, 30)];
        let mut batch = Batch::default();
        for (slot, (table, (start, rows))) in (0..).zip(tables.into_iter().zip(parts)) {
            let first = u32::try_from(batch.blocks.len()).expect("few");
            batch.blocks.extend(table.iter().copied().map(BlockId));
            let end = u32::try_from(batch.blocks.len()).expect("few");
            let (slot, adapter, blocks) = (SeqSlot(slot), AdapterSlot(0), first..end);
            batch.parts.push(Part { slot, rows, start, blocks, adapter });
        }
        let mut plan = Plan::default();
        // A second reading leaves nothing of the first.
        for _ in 0..2 {
            plan.read(&batch, &[TokenId::new(1); 51], &[]);
        }
        let mut row = 0;
        for (table, (start, rows)) in tables.into_iter().zip(parts) {
            for position in start..start + rows {
                let block = table[position as usize / 16] as usize;
                assert_eq!(plan.written[row], block, "row {row}");
                let tiles =
                    plan.tiles.iter().filter(|t| (t.first..t.first + t.rows).contains(&row));
                let tables: Vec<_> = tiles.map(|t| &plan.blocks[t.table.clone()]).collect();
                assert_eq!(tables, [table.iter().copied().map(BlockId).collect::<Vec<_>>()]);
                row += 1;
            }
        }
        assert_eq!((row, plan.written.len()), (51, 51));
    }
}
