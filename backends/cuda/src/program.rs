//! A model on one device: where everything of it lies, and the launches of a step.
//!
//! Plain data, made from shapes alone: `fit` makes one at address 0 to count its bytes, `step` one at the
//! address of the device's memory. Reading order: `room` (addresses), `nodes` (what is computed), `launches`
//! (how). Next: `program/nodes.rs`.

mod launches;
mod nodes;
mod room;

use gimbal_model::fuse::Fused;
use gimbal_model::graph::{Graph, WeightId};

use crate::launch::{Address, Type};

pub(crate) use launches::Shape;
use nodes::{Block, Head, Nodes, Table};
use room::Room;

/// Outputs whose logits are made together: 12 MiB with 49,152 tokens.
pub(crate) const SLAB_ROWS: u32 = 64;
/// Tokens of a block of the KV cache.
pub(crate) const BLOCK_TOKENS: u32 = 16;

/// How much a program has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Rows of a step.
    pub(crate) rows: u32,
    /// Sequences of a step.
    pub(crate) sequences: u32,
    /// Tokens of a sequence.
    pub(crate) context: u32,
    /// Blocks of the KV cache.
    pub(crate) blocks: u32,
}

/// Bytes of a program, by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    /// Weights and the tables of angles.
    pub(crate) weights: u64,
    /// Keys and values.
    pub(crate) kv: u64,
    /// Activations, a step's inputs, logits.
    pub(crate) work: u64,
}

impl Bytes {
    /// All together.
    #[must_use]
    pub(crate) const fn total(self) -> u64 {
        self.weights + self.kv + self.work
    }
}

/// What a weight's elements are on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// The type of activations.
    Same,
    /// f32: weights of norms.
    Float,
}

/// A weight's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) weight: WeightId,
    /// Where its rows begin.
    pub(crate) at: Address,
    pub(crate) form: Form,
}

/// A model on one device.
#[derive(Debug)]
pub(crate) struct Program {
    /// What weights and activations are.
    pub(crate) kind: Type,
    /// What there is room for.
    pub(crate) sizes: Sizes,
    /// What it takes.
    pub(crate) bytes: Bytes,
    /// Where each weight lies; one that is used in two places stands once.
    pub(crate) weights: Vec<Placed>,
    /// Where each rope's angles begin, `[context, pairs, 2]` f32.
    pub(crate) angles: Vec<Address>,
    /// Where a step's words begin (`inputs`).
    pub(crate) inputs: Address,
    /// Where logits are left, `[SLAB_ROWS, vocab]` f32.
    pub(crate) logits: Address,
    hidden: u32,
    table: Table,
    blocks: Vec<Block>,
    head: Head,
    work: Work,
}

/// Where activations lie, of as many rows as a step may have.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    /// `[rows, hidden]` f32: the residual stream.
    hidden: Address,
    /// `[rows, hidden]`: what goes into a product.
    normed: Address,
    /// `[rows, (heads + 2 · kv_heads) · dim]`.
    qkv: Address,
    /// `[rows, heads · dim]`.
    attended: Address,
    /// `[rows, 2 · width]`: gates and what they are multiplied with.
    both: Address,
    /// `[rows, width]`.
    gated: Address,
    /// `[rows, hidden]`: an output that is normalised before it is added.
    out: Address,
    /// `[sequences, heads, splits, dim]` f32.
    parts: Address,
    /// `[sequences, heads, splits, 2]` f32.
    shares: Address,
}

impl Program {
    /// Lays a model out from address `base` on.
    ///
    /// # Errors
    /// What kernels cannot compute, by name.
    pub(crate) fn new(
        graph: &Graph,
        fused: &[Fused],
        kind: Type,
        sizes: Sizes,
        base: Address,
    ) -> Result<Self, String> {
        let mut room = Room::new(base);
        let mut nodes = Nodes::new(graph, sizes);
        for node in fused {
            nodes.add(node, &mut room)?;
        }
        let weights = room.next() - base;
        let kv = nodes.place_caches(&mut room);
        let before = room.next();
        let work = nodes.place_work(&mut room);
        let inputs = room.take(u64::from(sizes.words_max()) * 4);
        let logits = room.take(u64::from(SLAB_ROWS) * graph.vocab() as u64 * 4);
        let bytes = Bytes { weights, kv, work: room.next() - before };
        let Nodes { table, head, blocks, weights, angles, .. } = nodes;
        let table = table.ok_or("a model without an embedding")?;
        let head = head.ok_or("a model without an output projection")?;
        let hidden = graph.hidden().try_into().map_err(|_| "rows that are too wide")?;
        Ok(Self {
            kind,
            sizes,
            bytes,
            weights,
            angles,
            inputs,
            logits,
            hidden,
            table,
            blocks,
            head,
            work,
        })
    }

    /// Columns of the logits.
    #[must_use]
    pub(crate) const fn vocab(&self) -> u32 {
        self.head.weight.n
    }
}
