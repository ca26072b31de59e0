//! The fused nodes and what they share: threads, kernels, KV cache, scratch, the step.
//!
//! Work is cut here and computed in `kernels/`. A column of a result is made by one chunk of one
//! run, so neither the count of chunks nor of threads changes a bit. ONNX Runtime calls the nodes
//! in order (`session.rs`); nothing here knows it.

mod attention;
mod feed_forward;
mod plan;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use gimbal_batch::Batch;
use gimbal_hal::KvDtype;
use gimbal_model::Model;
use gimbal_model::graph::WeightId;
use gimbal_model::weights::DType;

use crate::kernels::{ActBlock, Acts, Columns, Kernels, Linear};
use crate::lower::{Fused, Norm};
use crate::memory::{KvCache, Shared};
use crate::pack::{BLOCK, Packed};
use crate::pool::Pool;

use attention::Attention;
use feed_forward::FeedForward;
use plan::Plan;

/// Chunks a thread gets of one linear: a late thread then costs a sixth.
const CHUNKS_PER_THREAD: usize = 6;

/// A model bound to a CPU.
pub(crate) struct Executor {
    model: Arc<Model>,
    nodes: Vec<Bound>,
    cpu: Cpu,
    kv: KvCache,
    scratch: Scratch,
    plan: Plan,
}

/// Threads and the kernels they run.
pub(crate) struct Cpu {
    pub(crate) pool: Pool,
    pub(crate) kernels: &'static Kernels,
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

/// A norm's weight as floats.
struct NormWeight {
    weight: Vec<f32>,
    eps: f32,
}

/// Buffers of a step, in use up to the largest one seen.
#[derive(Default)]
struct Scratch {
    floats: Vec<f32>,
    acts: Vec<ActBlock>,
    wide: Vec<f32>,
    wide_acts: Vec<ActBlock>,
    tiles: Vec<f32>,
    picked: Vec<f32>,
    logits: Vec<f32>,
}

impl Scratch {
    /// Address space for steps of so many rows: buffers that grew by and by would leave holes.
    fn of(model: &Model, rows: usize) -> Self {
        let graph = &model.graph;
        let widest = (3 * graph.attention()).max(graph.widest()).max(2 * graph.hidden());
        let (floats, blocks) = (rows * widest, rows * widest / BLOCK);
        Self {
            floats: Vec::with_capacity(floats),
            acts: Vec::with_capacity(blocks),
            wide: Vec::with_capacity(floats),
            wide_acts: Vec::with_capacity(blocks),
            tiles: Vec::with_capacity(floats),
            picked: Vec::new(),
            logits: Vec::new(),
        }
    }
}

impl Executor {
    /// Binds packed weights to the nodes and reserves a KV cache of a type and so many blocks, and
    /// scratch for steps of so many rows.
    ///
    /// # Errors
    /// The system grants no memory for the cache.
    pub(crate) fn new(
        model: &Arc<Model>,
        fused: &[Fused],
        packed: &HashMap<WeightId, Packed>,
        kv: (KvDtype, usize),
        rows: usize,
        cpu: Cpu,
    ) -> io::Result<Self> {
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
    pub(crate) fn begin(&mut self, batch: &Batch, ids: &[u32]) {
        self.plan.read(batch, ids, &self.model.graph.ropes);
    }

    /// Rows and wanted results of the current step.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.plan.ids.len(), self.plan.outputs.len())
    }

    /// Columns of the residual stream and of the result.
    pub(crate) fn columns(&self) -> (usize, usize) {
        (self.model.graph.hidden(), self.model.graph.vocab())
    }

    /// Node `index`: reads the embedding table into `[rows, hidden]`.
    pub(crate) fn embed(&self, index: usize, out: &mut [f32]) {
        let Bound::Embed(Embed { table, scale, packed }) = &self.nodes[index] else {
            panic!("node {index} is no Embed")
        };
        let name = &self.model.graph.weights[table.0].name;
        let tensor = self.model.weights.get(name).expect("the model has every weight");
        for (id, out) in self.plan.ids.iter().zip(out.chunks_exact_mut(tensor.cols)) {
            match packed {
                Some(packed) => packed.read_row(*id as usize, out),
                None => tensor.read_row(*id as usize, out),
            }
            if *scale != 1.0 {
                out.iter_mut().for_each(|x| *x *= scale);
            }
        }
    }

    /// Node `index`: an attention or feed-forward block, in place on `[rows, hidden]`.
    pub(crate) fn block(&mut self, index: usize, hidden: &mut [f32]) {
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
    pub(crate) fn head(&mut self, index: usize, hidden: &[f32]) {
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
    pub(crate) fn logits(&mut self) -> &mut [f32] {
        let len = self.plan.outputs.len() * self.columns().1;
        &mut self.scratch.logits[..len]
    }
}

/// Gives nodes their weights.
pub(crate) struct Packer<'a> {
    model: &'a Model,
    packed: &'a HashMap<WeightId, Packed>,
    kernels: &'static Kernels,
}

impl Packer<'_> {
    fn weight(&self, id: WeightId) -> Packed {
        self.packed.get(&id).expect("every matrix was packed").clone()
    }

    fn dtype(&self, id: WeightId) -> DType {
        let name = &self.model.graph.weights[id.0].name;
        self.model.weights.get(name).expect("the model has every weight").dtype
    }

    fn norm(&self, norm: Norm) -> NormWeight {
        NormWeight { weight: self.floats(norm.weight), eps: norm.eps }
    }

    fn floats(&self, id: WeightId) -> Vec<f32> {
        let name = &self.model.graph.weights[id.0].name;
        self.model.weights.get(name).expect("the model has every weight").to_f32()
    }
}

/// Rows to be normalised.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    x: &'a [f32],
    rows: usize,
    cols: usize,
}

/// Both forms in which linears read activations.
#[derive(Clone, Copy)]
pub(crate) struct BothActs<'a> {
    pub(crate) floats: &'a [f32],
    pub(crate) blocks: &'a [ActBlock],
}

impl<'a> BothActs<'a> {
    fn of(self, weight: &Packed) -> Acts<'a> {
        if weight.dtype.is_quantised() {
            Acts::Blocks(self.blocks)
        } else {
            Acts::Floats(self.floats)
        }
    }
}

/// Rows into both forms, normalised where there is a norm.
fn normalise<'a>(
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
    by_rows(cpu, rows, &|row| {
        // SAFETY: each row is one chunk's, and both buffers outlive the run.
        let floats = unsafe { all_floats.slice_mut(row * cols..(row + 1) * cols) };
        // SAFETY: as above.
        let blocks = unsafe { all_blocks.slice_mut(row * cols / BLOCK..(row + 1) * cols / BLOCK) };
        let x = &x[row * cols..(row + 1) * cols];
        match norm {
            Some(norm) => (cpu.kernels.rms_norm)(x, &norm.weight, norm.eps, floats),
            None => floats.copy_from_slice(x),
        }
        (cpu.kernels.quantise)(floats, blocks);
    });
    BothActs { floats: &floats[..rows * cols], blocks: &blocks[..rows * cols / BLOCK] }
}

/// The last linear of a block, which adds to the residual stream.
struct Residual<'a> {
    weight: &'a Packed,
    post: Option<&'a NormWeight>,
    /// Holds `[rows, hidden]` where a norm comes between.
    buffer: &'a mut Vec<f32>,
}

impl Residual<'_> {
    /// `hidden += post(acts · weightᵀ)`.
    fn add(self, cpu: &Cpu, acts: BothActs<'_>, rows: usize, hidden: &mut [f32]) {
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
            hidden.iter_mut().zip(&*normed).for_each(|(x, add)| *x += add);
        });
    }
}

/// Calls `work` for every row; few rows are not worth a barrier.
fn by_rows(cpu: &Cpu, rows: usize, work: &(dyn Fn(usize) + Sync)) {
    if rows < 2 * cpu.pool.threads() {
        return (0..rows).for_each(work);
    }
    let chunk = rows.div_ceil(cpu.pool.threads() * CHUNKS_PER_THREAD);
    cpu.pool.run(rows.div_ceil(chunk), &|c| (c * chunk..rows.min((c + 1) * chunk)).for_each(work));
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
            debug_assert_eq!(weight.lanes, cpu.kernels.lanes, "the layout of these kernels");
            let groups = c * all / chunks..(c + 1) * all / chunks;
            let task = Linear { weight, groups, acts: acts.of(weight), rows, out: *out };
            // SAFETY: chunks have disjoint groups, so no other thread touches their columns.
            unsafe { (cpu.kernels.linear)(&task) };
            return;
        }
    });
}

/// Makes a buffer at least `len` long; what it held does not matter.
fn grow<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
}
