//! The feed-forward block: norm, gate and up, activation times up, down, norm, residual.
//!
//! Runs of the pool: norm (many rows only), gate·up with the activation and its quantisation in
//! the same chunk, down. Bytes: the three weights once a step.

use std::cell::RefCell;

use gimbal_model::graph::Act;

use super::bind::Packer;
use super::linear::{BothActs, CHUNKS_PER_THREAD};
use super::norm::{Inputs, NormWeight, Residual, normalise};
use super::scratch::{Scratch, grow};
use crate::cpu::Cpu;
use crate::kernels::table::{Columns, Linear};
use crate::memory::Shared;
use crate::pack::{BLOCK, Packed};
use gimbal_model::fuse;

thread_local! {
    /// Gates and ups of a chunk, `[rows, columns]` each: a part of what all rows' would be.
    static GATES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A feed-forward block with its weights.
pub(super) struct FeedForward {
    norm: Option<NormWeight>,
    gate: Packed,
    up: Packed,
    gate_mul: fn(&mut [f32], &[f32]),
    down: Packed,
    post: Option<NormWeight>,
}

impl FeedForward {
    pub(super) fn bind(node: &fuse::FeedForward, packer: &Packer<'_>) -> Self {
        Self {
            norm: node.norm.map(|norm| packer.norm(norm)),
            gate: packer.weight(node.gate),
            up: packer.weight(node.up),
            gate_mul: match node.act {
                Act::Silu => packer.kernels.silu_mul,
                Act::GeluTanh => packer.kernels.gelu_mul,
            },
            down: packer.weight(node.down),
            post: node.post.map(|norm| packer.norm(norm)),
        }
    }

    pub(super) fn run(&self, cpu: &Cpu, scratch: &mut Scratch, rows: usize, hidden: &mut [f32]) {
        let Scratch { floats, acts, wide, wide_acts, .. } = scratch;
        let inputs = Inputs { x: hidden, rows, cols: self.down.rows };
        let normed = normalise(cpu, inputs, self.norm.as_ref(), floats, acts);
        let cols = self.gate.rows;
        // Integers are multiplied with blocks alone: floats then need not outlive their chunk.
        let kept = if self.down.dtype.is_quantised() { 0 } else { rows * cols };
        grow(wide, kept);
        grow(wide_acts, rows * cols / BLOCK);
        let all_floats = Shared::new(&mut wide[..kept]);
        let blocks = Shared::new(&mut wide_acts[..rows * cols / BLOCK]);
        let all = cols / BLOCK;
        let chunk = all.div_ceil(cpu.pool.threads() * CHUNKS_PER_THREAD).max(1);
        cpu.pool.run(all.div_ceil(chunk), &|c| {
            let mine = c * chunk..all.min((c + 1) * chunk);
            // Groups of rows that make one block of activations.
            let per_block = BLOCK / self.gate.packing.rows;
            let groups = mine.start * per_block..mine.end * per_block;
            let (skip, width) = (mine.start * BLOCK, mine.len() * BLOCK);
            GATES.with_borrow_mut(|both| {
                grow(both, 2 * rows * width);
                let (gates, ups) = both[..2 * rows * width].split_at_mut(rows * width);
                for (weight, out) in [(&self.gate, &mut *gates), (&self.up, &mut *ups)] {
                    let out = Shared::new(out);
                    let out = Columns { out, stride: width, first: 0, skip, cols, add: false };
                    let (groups, acts) = (groups.clone(), normed.of(weight));
                    // SAFETY: this thread alone has these columns.
                    unsafe { (cpu.kernels.linear)(&Linear { weight, groups, acts, rows, out }) };
                }
                for (row, gate) in gates.chunks_exact_mut(width).enumerate() {
                    (self.gate_mul)(gate, &ups[row * width..(row + 1) * width]);
                    if kept > 0 {
                        let range = row * cols + skip..row * cols + skip + width;
                        // SAFETY: these columns are this chunk's.
                        unsafe { all_floats.slice_mut(range) }.copy_from_slice(gate);
                    }
                }
                for tile in cpu.kernels.tiles(rows) {
                    let gates = &gates[tile.start * width..tile.end * width];
                    // The tile's blocks, and among them this chunk's.
                    let (first, count) = (tile.start * all, tile.len());
                    let range = first + mine.start * count..first + mine.end * count;
                    // SAFETY: these blocks are this chunk's.
                    (cpu.kernels.quantise)(gates, count, unsafe { blocks.slice_mut(range) });
                }
            });
        });
        let acts = BothActs { floats: &wide[..kept], blocks: &wide_acts[..rows * all] };
        let residual = Residual { weight: &self.down, post: self.post.as_ref(), buffer: floats };
        residual.add(cpu, acts, rows, hidden);
    }
}
