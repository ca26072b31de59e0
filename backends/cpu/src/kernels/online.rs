//! The loop over a sequence's blocks that attention of all vector sets shares.

use super::table::{Attend, TILE_QUERIES_MAX};
use super::tile::rows_at_once;
use crate::kv_cache::BLOCK_TOKENS;

/// One row and head of a tile while it is attended.
#[derive(Clone, Copy)]
pub(super) struct Online {
    /// The largest score so far.
    pub(super) most: f32,
    /// The sum of `e^(score - most)`.
    pub(super) sum: f32,
}

/// One row and head of a tile.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) values: &'a [f32],
    pub(super) row: usize,
}

/// Some queries of a tile at one block.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) task: &'a Attend<'a>,
    pub(super) block: usize,
    /// Every row of the tile sees all tokens of the block.
    pub(super) is_whole: bool,
    pub(super) queries: &'a [Query<'a>],
    pub(super) keys: &'a [u8],
    pub(super) values: &'a [u8],
}

/// Attends so many queries to a block; all of its arguments but the count are of these queries.
pub(super) type AttendPass = unsafe fn(usize, Pass<'_>, &mut [Online], &mut [f32]);

/// Attends a tile, at most `most` queries to a pass.
///
/// # Safety
/// - No thread writes the tile's queries or the sequence's blocks during the call.
/// - `pass` may be called: this CPU has its features.
pub(super) unsafe fn attend_blocks(
    task: &Attend<'_>,
    out: &mut [f32],
    most: usize,
    pass: AttendPass,
    prefetch: fn(&[u8]),
) {
    let (dim, count) = (task.layout.head_dim, task.rows * task.group);
    assert!(count <= TILE_QUERIES_MAX, "a tile holds its queries");
    out.fill(0.0);
    let mut queries = [Query { values: &[], row: 0 }; TILE_QUERIES_MAX];
    for (i, query) in queries[..count].iter_mut().enumerate() {
        let row = i / task.group;
        // SAFETY: the caller promises that nobody writes the tile's queries.
        *query = Query { values: unsafe { task.query(row, i % task.group) }, row };
    }
    let mut online = [Online { most: -1e30, sum: 0.0 }; TILE_QUERIES_MAX];
    for block in task.block_first()..=task.block_last() {
        // SAFETY: the caller promises that nobody writes the sequence's blocks.
        let (keys, values) = unsafe { task.block(block) };
        if block < task.block_last() {
            // SAFETY: as above.
            let (keys, values) = unsafe { task.block(block + 1) };
            // Blocks lie anywhere, and the hardware does not guess where the next one is.
            prefetch(keys);
            prefetch(values);
        }
        let all = 0..BLOCK_TOKENS;
        let is_whole = task.seen(0, block) == all && task.seen(task.rows - 1, block) == all;
        let mut first = 0;
        while first < count {
            let n = rows_at_once(count - first, most);
            let (state, acc) = (&mut online[first..first + n], &mut out[first * dim..]);
            let at = Pass { task, block, is_whole, queries: &queries[first..], keys, values };
            // SAFETY: as the caller promises.
            unsafe { pass(n, at, state, acc) };
            first += n;
        }
    }
    for (acc, online) in out.chunks_exact_mut(dim).zip(online) {
        let by = 1.0 / online.sum;
        acc.iter_mut().for_each(|acc| *acc *= by);
    }
}
