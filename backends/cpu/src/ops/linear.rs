//! How rows and linears are cut into chunks for the pool.

use std::ops::Range;

use crate::cpu::Cpu;
use crate::kernels::table::{ActBlock, Acts, Columns, Linear};
use crate::pack::Packed;

/// Chunks a thread gets of one linear: a late thread then costs a sixth.
pub(super) const CHUNKS_PER_THREAD: usize = 6;

/// Both forms in which linears read activations.
#[derive(Clone, Copy)]
pub(crate) struct BothActs<'a> {
    pub(crate) floats: &'a [f32],
    pub(crate) blocks: &'a [ActBlock],
}

impl<'a> BothActs<'a> {
    pub(super) fn of(self, weight: &Packed) -> Acts<'a> {
        if weight.dtype.is_quantised() {
            Acts::Blocks(self.blocks)
        } else {
            Acts::Floats(self.floats)
        }
    }
}

/// Calls `work` for every row; few rows are not worth a barrier.
pub(super) fn by_rows(cpu: &Cpu, rows: usize, work: &(dyn Fn(usize) + Sync)) {
    if rows < 2 * cpu.pool.threads() {
        return (0..rows).for_each(work);
    }
    let chunk = rows.div_ceil(cpu.pool.threads() * CHUNKS_PER_THREAD);
    cpu.pool.run(rows.div_ceil(chunk), &|c| (c * chunk..rows.min((c + 1) * chunk)).for_each(work));
}

/// Calls `work` for the rows of every tile of activations; few rows are not worth a barrier.
pub(super) fn by_tiles(cpu: &Cpu, rows: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
    if rows < 2 * cpu.pool.threads() {
        return cpu.kernels.tiles(rows).for_each(work);
    }
    let tile = cpu.kernels.tile_rows;
    let tiles = rows.div_ceil(tile);
    let chunk = tiles.div_ceil(cpu.pool.threads() * CHUNKS_PER_THREAD) * tile;
    cpu.pool.run(rows.div_ceil(chunk), &|c| {
        let first = c * chunk;
        for tile in cpu.kernels.tiles(chunk.min(rows - first)) {
            work(first + tile.start..first + tile.end);
        }
    });
}

/// Runs linears that read the same activations, in one run of the pool.
pub(crate) fn linear(
    cpu: &Cpu,
    acts: BothActs<'_>,
    rows: usize,
    weights: &[(&Packed, Columns<'_>)],
) {
    let total: usize = weights.iter().map(|(w, _)| w.groups()).sum();
    let most = cpu.pool.threads() * CHUNKS_PER_THREAD;
    let chunks_of = |w: &Packed| (w.groups() * most).div_ceil(total).min(w.groups());
    let chunks = weights.iter().map(|(w, _)| chunks_of(w)).sum();
    cpu.pool.run(chunks, &|mut c| {
        for (weight, out) in weights {
            let (chunks, all) = (chunks_of(weight), weight.groups());
            if c >= chunks {
                c -= chunks;
                continue;
            }
            debug_assert_eq!(weight.packing, cpu.kernels.packing, "the layout of these kernels");
            let groups = c * all / chunks..(c + 1) * all / chunks;
            let task = Linear { weight, groups, acts: acts.of(weight), rows, out: *out };
            // SAFETY: chunks have disjoint groups, so no other thread touches their columns.
            unsafe { (cpu.kernels.linear)(&task) };
            return;
        }
    });
}
