//! The feed-forward block: norm, gate and up, activation times up, down, norm, residual.
//!
//! Runs of the pool: norm (many rows only), gate·up with the activation and its quantisation in
//! the same chunk, down. Bytes: the three weights once a step.

use super::{BothActs, Cpu, Inputs, NormWeight, Packer, Residual, Scratch, grow, normalise};
use gimbal_model::graph::Act;

use crate::kernels::{Columns, Linear};
use crate::lower;
use crate::memory::Shared;
use crate::pack::{BLOCK, Packed};

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
    pub(super) fn bind(node: &lower::FeedForward, packer: &Packer<'_>) -> Self {
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
        let Scratch { floats, acts, wide, wide_acts, up, .. } = scratch;
        let inputs = Inputs { x: hidden, rows, cols: self.down.rows };
        let normed = normalise(cpu, inputs, self.norm.as_ref(), floats, acts);
        let cols = self.gate.rows;
        grow(wide, rows * cols);
        grow(up, rows * cols);
        grow(wide_acts, rows * cols / BLOCK);
        let (gates, ups) =
            (Shared::new(&mut wide[..rows * cols]), Shared::new(&mut up[..rows * cols]));
        let blocks = Shared::new(&mut wide_acts[..rows * cols / BLOCK]);
        let all = cols / BLOCK;
        let chunk = all.div_ceil(cpu.pool.threads() * super::CHUNKS_PER_THREAD).max(1);
        cpu.pool.run(all.div_ceil(chunk), &|c| {
            let mine = c * chunk..all.min((c + 1) * chunk);
            // Groups of rows that make one block of activations.
            let per_block = BLOCK / self.gate.lanes;
            let groups = mine.start * per_block..mine.end * per_block;
            for (weight, out) in [(&self.gate, gates), (&self.up, ups)] {
                let out = Columns { out, stride: cols, first: 0, cols, add: false };
                let (groups, acts) = (groups.clone(), normed.of(weight));
                // SAFETY: chunks have disjoint groups, so no other thread touches their columns.
                unsafe { (cpu.kernels.linear)(&Linear { weight, groups, acts, rows, out }) };
            }
            for row in 0..rows {
                let columns = row * cols + mine.start * BLOCK..row * cols + mine.end * BLOCK;
                // SAFETY: these columns are this chunk's in both buffers.
                let gate = unsafe { gates.slice_mut(columns.clone()) };
                // SAFETY: as above; they are only read from here on.
                (self.gate_mul)(gate, unsafe { ups.slice(columns) });
                let range = row * all + mine.start..row * all + mine.end;
                // SAFETY: these blocks are this chunk's.
                (cpu.kernels.quantise)(gate, unsafe { blocks.slice_mut(range) });
            }
        });
        let acts = BothActs { floats: &wide[..rows * cols], blocks: &wide_acts[..rows * all] };
        let residual = Residual { weight: &self.down, post: self.post.as_ref(), buffer: floats };
        residual.add(cpu, acts, rows, hidden);
    }
}
