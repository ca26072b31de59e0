//! A batch as the nodes read it: positions, tables and tiles, worked out once a step.

use gimbal_batch::{Batch, BlockId};
use gimbal_model::graph::RopeTable;

/// Rows a tile may hold; keys of a block are then read once for them.
const TILE_ROWS: usize = 8;

/// One step.
#[derive(Default)]
pub(super) struct Plan {
    /// Token of each row.
    pub(super) ids: Vec<u32>,
    /// Position of each row.
    pub(super) positions: Vec<u32>,
    /// Row of each output.
    pub(super) outputs: Vec<usize>,
    /// Runs of rows of one sequence.
    pub(super) tiles: Vec<Tile>,
    /// Block tables of all parts.
    pub(super) blocks: Vec<BlockId>,
    /// True when no sequence has two rows, so that a tile may write what it reads.
    pub(super) is_decode: bool,
    /// Cosines and sines, `[rope][row][pair]`.
    pub(super) angles: Vec<Vec<(f32, f32)>>,
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
    pub(super) fn read(&mut self, batch: &Batch, ids: &[u32], ropes: &[RopeTable]) {
        self.ids.clear();
        self.ids.extend_from_slice(ids);
        self.positions.clear();
        self.tiles.clear();
        self.blocks.clear();
        self.blocks.extend_from_slice(&batch.blocks);
        self.outputs.clear();
        self.outputs.extend(batch.outputs.iter().map(|o| o.row as usize));
        self.is_decode = batch.parts.iter().all(|p| p.rows == 1);
        for part in &batch.parts {
            let (first, rows) = (self.positions.len(), part.rows as usize);
            self.positions.extend(part.start..part.start + part.rows);
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
            angles.extend(self.positions.iter().flat_map(|p| rope.angles(*p)));
        }
    }
}
