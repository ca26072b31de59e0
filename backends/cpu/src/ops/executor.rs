//! A model bound to a CPU: its nodes, KV cache, scratch and the current step.
//!
//! Someone else calls the nodes in order; nothing here knows who.

use std::io;
use std::sync::Arc;

use gimbal_batch::{Batch, TokenId};
use gimbal_hal::KvDtype;
use gimbal_model::Model;
use gimbal_model::graph::WeightId;

use super::attention::Attention;
use super::bind::Packer;
use super::feed_forward::FeedForward;
use super::linear::linear;
use super::norm::{Inputs, NormWeight, normalise};
use super::plan::Plan;
use super::scratch::{Scratch, grow};
use crate::cpu::Cpu;
use crate::fuse::Fused;
use crate::kernels::table::Columns;
use crate::kv_cache::KvCache;
use crate::memory::Shared;
use crate::pack::Packed;
use crate::store::Stored;

/// A model bound to a CPU.
pub struct Executor {
    model: Arc<Model>,
    nodes: Vec<Bound>,
    cpu: Arc<Cpu>,
    kv: KvCache,
    scratch: Scratch,
    plan: Plan,
}

/// A fused node with its weights.
enum Bound {
    Embed(Embed),
    Attention(Box<Attention>),
    FeedForward(FeedForward),
    Head(Head),
}

struct Embed {
    table: WeightId,
    scale: f32,
    /// The same weights where a head has them packed in their own type: the file's pages are then not
    /// needed.
    packed: Option<Packed>,
}

struct Head {
    norm: NormWeight,
    weight: Packed,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl Executor {
    /// Binds packed weights to the nodes and reserves a KV cache of a type and so many blocks, and
    /// scratch for steps of so many rows.
    ///
    /// # Errors
    /// The system grants no memory for the cache.
    pub fn new(
        model: &Arc<Model>,
        fused: &[Fused],
        stored: &Stored,
        kv: (KvDtype, usize),
        rows: usize,
        cpu: Arc<Cpu>,
    ) -> io::Result<Self> {
        let packed = &stored.packed;
        let packer = Packer { model, packed, kernels: cpu.kernels };
        let bind = |node: &Fused| match node {
            Fused::Embed { table, scale } => Bound::Embed(Embed {
                table: *table,
                scale: *scale,
                packed: packed.get(table).filter(|p| p.dtype == packer.dtype(*table)).cloned(),
            }),
            Fused::Attention(node) => Bound::Attention(Box::new(Attention::bind(node, &packer))),
            Fused::FeedForward(node) => Bound::FeedForward(FeedForward::bind(node, &packer)),
            Fused::Head(node) => Bound::Head(Head {
                norm: packer.norm(node.norm),
                weight: packer.weight(node.weight),
            }),
        };
        let nodes = fused.iter().map(bind).collect();
        let kv = KvCache::new(&model.graph, kv.0, kv.1)?;
        let (scratch, plan) = (Scratch::of(model, rows), Plan::default());
        Ok(Self { model: model.clone(), nodes, cpu, kv, scratch, plan })
    }

    /// Takes the step that the next calls compute; `ids` are its rows' tokens.
    pub fn begin(&mut self, batch: &Batch, ids: &[TokenId]) {
        self.plan.read(batch, ids, &self.model.graph.ropes);
    }

    /// Rows and wanted results of the current step.
    pub fn shape(&self) -> (usize, usize) {
        (self.plan.ids.len(), self.plan.outputs.len())
    }

    /// Columns of the residual stream and of the result.
    pub fn columns(&self) -> (usize, usize) {
        (self.model.graph.hidden(), self.model.graph.vocab())
    }

    /// Node `index`: reads the embedding table into `[rows, hidden]`.
    pub fn embed(&self, index: usize, out: &mut [f32]) {
        let Bound::Embed(Embed { table, scale, packed }) = &self.nodes[index] else {
            panic!("node {index} is no Embed")
        };
        let name = &self.model.graph.weights[table.0].name;
        let tensor = self.model.weights.get(name).expect("the model has every weight");
        for (id, out) in self.plan.ids.iter().zip(out.chunks_exact_mut(tensor.cols)) {
            match packed {
                Some(packed) => packed.read_row(id.index(), out),
                None => tensor.read_row(id.index(), out),
            }
            if *scale != 1.0 {
                out.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }

    /// Node `index`: an attention or feed-forward block, in place on `[rows, hidden]`.
    pub fn block(&mut self, index: usize, hidden: &mut [f32]) {
        match &self.nodes[index] {
            Bound::Attention(node) => {
                node.run(&self.cpu, &mut self.scratch, &mut self.kv, &self.plan, hidden);
            }
            Bound::FeedForward(node) => {
                node.run(&self.cpu, &mut self.scratch, self.plan.ids.len(), hidden);
            }
            Bound::Embed(_) | Bound::Head(_) => panic!("node {index} is no block"),
        }
    }

    /// Node `index`: `[rows, hidden]` to the step's logits.
    pub fn head(&mut self, index: usize, hidden: &[f32]) {
        let Bound::Head(node) = &self.nodes[index] else { panic!("node {index} is no Head") };
        let (cols, rows) = (node.weight.cols, self.plan.outputs.len());
        let Scratch { floats, acts, picked, logits, .. } = &mut self.scratch;
        grow(picked, rows * cols);
        for (row, out) in self.plan.outputs.iter().zip(picked.chunks_exact_mut(cols)) {
            out.copy_from_slice(&hidden[row * cols..(row + 1) * cols]);
        }
        let inputs = Inputs { x: &picked[..rows * cols], rows, cols };
        let acts = normalise(&self.cpu, inputs, Some(&node.norm), floats, acts);
        let vocab = node.weight.rows;
        grow(logits, rows * vocab);
        let out = Columns {
            out: Shared::new(logits),
            stride: vocab,
            first: 0,
            skip: 0,
            cols: vocab,
            add: false,
        };
        linear(&self.cpu, acts, rows, &[(&node.weight, out)]);
    }

    /// What the head made of the current step, `[outputs, vocab]`.
    pub fn logits(&mut self) -> &mut [f32] {
        let len = self.plan.outputs.len() * self.columns().1;
        &mut self.scratch.logits[..len]
    }
}
