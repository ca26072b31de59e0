//! Rows before a linear, normalised and in both forms it may read; and the last linear of a block.

use super::linear::{BothActs, by_rows, by_tiles, linear};
use super::scratch::grow;
use crate::cpu::Cpu;
use crate::kernels::table::{ActBlock, Columns};
use crate::memory::Shared;
use crate::pack::{BLOCK, Packed};

/// A norm's weight as floats.
pub(super) struct NormWeight {
    pub(super) weight: Vec<f32>,
    pub(super) eps: f32,
}

/// Rows to be normalised.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) x: &'a [f32],
    pub(super) rows: usize,
    pub(super) cols: usize,
}

/// Rows into both forms, normalised where there is a norm.
pub(super) fn normalise<'a>(
    cpu: &Cpu,
    inputs: Inputs<'_>,
    norm: Option<&NormWeight>,
    floats: &'a mut Vec<f32>,
    blocks: &'a mut Vec<ActBlock>,
) -> BothActs<'a> {
    let Inputs { x, rows, cols } = inputs;
    grow(floats, rows * cols);
    grow(blocks, rows * cols / BLOCK);
    let (all_floats, all_blocks) = (Shared::new(floats), Shared::new(blocks));
    by_tiles(cpu, rows, &|tile| {
        let (count, all) = (tile.len(), tile.start * cols..tile.end * cols);
        // SAFETY: each tile is one chunk's, and both buffers outlive the run.
        let floats = unsafe { all_floats.slice_mut(all.clone()) };
        // SAFETY: as above.
        let blocks = unsafe { all_blocks.slice_mut(all.start / BLOCK..all.end / BLOCK) };
        for (x, floats) in x[all].chunks_exact(cols).zip(floats.chunks_exact_mut(cols)) {
            match norm {
                Some(norm) => (cpu.kernels.rms_norm)(x, &norm.weight, norm.eps, floats),
                None => floats.copy_from_slice(x),
            }
        }
        (cpu.kernels.quantise)(floats, count, blocks);
    });
    BothActs { floats: &floats[..rows * cols], blocks: &blocks[..rows * cols / BLOCK] }
}

/// The last linear of a block, which adds to the residual stream.
pub(super) struct Residual<'a> {
    pub(super) weight: &'a Packed,
    pub(super) post: Option<&'a NormWeight>,
    /// Holds `[rows, hidden]` where a norm comes between.
    pub(super) buffer: &'a mut Vec<f32>,
}

impl Residual<'_> {
    /// `hidden += post(acts · weightᵀ)`.
    pub(super) fn add(self, cpu: &Cpu, acts: BothActs<'_>, rows: usize, hidden: &mut [f32]) {
        let cols = self.weight.rows;
        let Some(norm) = self.post else {
            let out = Shared::new(hidden);
            let out = Columns { out, stride: cols, first: 0, skip: 0, cols, add: true };
            return linear(cpu, acts, rows, &[(self.weight, out)]);
        };
        grow(self.buffer, 2 * rows * cols);
        let (made, normed) = self.buffer[..2 * rows * cols].split_at_mut(rows * cols);
        let out =
            Columns { out: Shared::new(made), stride: cols, first: 0, skip: 0, cols, add: false };
        linear(cpu, acts, rows, &[(self.weight, out)]);
        let (normed, hidden) = (Shared::new(normed), Shared::new(hidden));
        by_rows(cpu, rows, &|row| {
            let range = row * cols..(row + 1) * cols;
            // SAFETY: each row of both buffers is one chunk's.
            let normed = unsafe { normed.slice_mut(range.clone()) };
            // SAFETY: as above.
            let hidden = unsafe { hidden.slice_mut(range.clone()) };
            (cpu.kernels.rms_norm)(&made[range], &norm.weight, norm.eps, normed);
            (cpu.kernels.add)(hidden, normed);
        });
    }
}
