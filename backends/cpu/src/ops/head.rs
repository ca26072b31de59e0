//! The head: rows to logits. Of rows that are only scored no logits are kept: they are made a slab at a
//! time, each row is read by one thread, and the next slab takes their place.
//!
//! Nothing is chosen here. Next: `executor.rs`.

use std::sync::OnceLock;

use gimbal_batch::{Answer, RowFault};
use gimbal_hal::sample;

use super::linear::linear;
use super::norm::{Inputs, NormWeight, normalise};
use super::plan::Scored;
use super::scratch::{Scratch, grow};
use crate::cpu::Cpu;
use crate::kernels::table::Columns;
use crate::memory::Shared;
use crate::pack::Packed;

/// Rows of a slab: 12 MiB of logits with 49,152 tokens, as many as a plan counts anyway. The weight is read
/// once for all of them, so fewer would cost more.
const SLAB_ROWS: usize = 64;

/// A norm and the output projection.
pub(super) struct Head {
    pub(super) norm: NormWeight,
    pub(super) weight: Packed,
}

impl Head {
    /// Logits of rows of `[.., hidden]`, `[rows, vocab]`, at the beginning of the scratch's.
    pub(super) fn project(
        &self,
        cpu: &Cpu,
        scratch: &mut Scratch,
        chosen: impl ExactSizeIterator<Item = usize>,
        hidden: &[f32],
    ) {
        let (cols, vocab, rows) = (self.weight.cols, self.weight.rows, chosen.len());
        if rows == 0 {
            return;
        }
        let Scratch { floats, acts, picked, logits, .. } = scratch;
        grow(picked, rows * cols);
        for (row, out) in chosen.zip(picked.chunks_exact_mut(cols)) {
            out.copy_from_slice(&hidden[row * cols..(row + 1) * cols]);
        }
        let inputs = Inputs { x: &picked[..rows * cols], rows, cols };
        let acts = normalise(cpu, inputs, Some(&self.norm), floats, acts);
        grow(logits, rows * vocab);
        let out = Shared::new(logits);
        let out = Columns { out, stride: vocab, first: 0, skip: 0, cols: vocab, add: false };
        linear(cpu, acts, rows, &[(&self.weight, out)]);
    }

    /// What rows tell of tokens, by the same arithmetic as if their logits were kept.
    pub(super) fn score(
        &self,
        cpu: &Cpu,
        scratch: &mut Scratch,
        scored: &[Scored],
        hidden: &[f32],
    ) -> Vec<Result<Answer, RowFault>> {
        let vocab = self.weight.rows;
        let mut answers = Vec::with_capacity(scored.len());
        for slab in scored.chunks(SLAB_ROWS) {
            self.project(cpu, scratch, slab.iter().map(|scored| scored.row), hidden);
            let logits = &scratch.logits;
            let made: Vec<_> = slab.iter().map(|_| OnceLock::new()).collect();
            cpu.pool.run(slab.len(), &|at| {
                let (scored, logits) = (&slab[at], &logits[at * vocab..(at + 1) * vocab]);
                made[at].get_or_init(|| sample::score(logits, &scored.ids, scored.top));
            });
            let made = made.into_iter().map(|answer| answer.into_inner());
            answers.extend(made.map(|answer| answer.expect("each row is a chunk")));
        }
        answers
    }
}
