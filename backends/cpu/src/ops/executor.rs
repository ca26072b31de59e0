//! A model bound to a CPU: its nodes, KV cache, scratch and the current step.
//!
//! Someone else calls the nodes in order; nothing here knows who.

use std::io;
use std::sync::Arc;

use gimbal_batch::{Answer, Batch, RowFault, TokenId};
use gimbal_hal::KvDtype;
use gimbal_model::Model;
use gimbal_model::graph::WeightId;

use super::attention::Attention;
use super::bind::Packer;
use super::feed_forward::FeedForward;
use super::head::Head;
use super::plan::Plan;
use super::scratch::Scratch;
use crate::cpu::Cpu;
use crate::kv_cache::KvCache;
use crate::pack::Packed;
use crate::store::Stored;
use gimbal_model::fuse::Fused;

/// A model bound to a CPU.
pub struct Executor {
    model: Arc<Model>,
    nodes: Vec<Bound>,
    cpu: Arc<Cpu>,
    kv: KvCache,
    scratch: Scratch,
    plan: Plan,
    /// What the head made of the rows that are only scored.
    scores: Vec<Result<Answer, RowFault>>,
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
        Ok(Self { model: model.clone(), nodes, cpu, kv, scratch, plan, scores: Vec::new() })
    }

    /// Takes the step that the next calls compute; `ids` are its rows' tokens.
    pub fn begin(&mut self, batch: &Batch, ids: &[TokenId]) {
        self.plan.read(batch, ids, &self.model.graph.ropes);
    }

    /// Rows, and those whose logits are wanted, of the current step.
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

    /// Node `index`: `[rows, hidden]` to the step's scores and logits.
    pub fn head(&mut self, index: usize, hidden: &[f32]) {
        let Self { nodes, cpu, scratch, plan, scores, .. } = self;
        let Bound::Head(node) = &nodes[index] else { panic!("node {index} is no Head") };
        // First, for slabs use the memory of the logits that stay.
        *scores = node.score(cpu, scratch, &plan.scored, hidden);
        node.project(cpu, scratch, plan.outputs.iter().copied(), hidden);
    }

    /// What the current step's scored rows tell, in order; once.
    pub fn take_scores(&mut self) -> Vec<Result<Answer, RowFault>> {
        std::mem::take(&mut self.scores)
    }

    /// What the head made of the current step's other outputs, `[outputs, vocab]`.
    pub fn logits(&mut self) -> &mut [f32] {
        let len = self.plan.outputs.len() * self.columns().1;
        &mut self.scratch.logits[..len]
    }
}
