//! Words of a layout: how much there is room for, what it takes, where weights and activations lie.
//!
//! Next: `room.rs`.

use gimbal_model::graph::WeightId;

use crate::launch::{Address, Weights};

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
    /// Rows from `row` on of a matrix of `n` rows in blocks.
    Blocks { weights: Weights, n: u32, row: u32 },
}

/// A weight's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) weight: WeightId,
    /// Where its rows begin, or the matrix of its blocks.
    pub(crate) at: Address,
    pub(crate) form: Form,
}

/// Where activations lie, of as many rows as a step may have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    /// `[rows, hidden]` f32: the residual stream.
    pub(crate) hidden: Address,
    /// `[rows, hidden]`: what goes into a product.
    pub(crate) normed: Address,
    /// `[rows, (heads + 2 · kv_heads) · dim]`.
    pub(crate) qkv: Address,
    /// `[rows, heads · dim]`.
    pub(crate) attended: Address,
    /// `[rows, 2 · width]`: gates and what they are multiplied with.
    pub(crate) both: Address,
    /// `[rows, width]`.
    pub(crate) gated: Address,
    /// `[rows, hidden]`: an output that is normalised before it is added.
    pub(crate) out: Address,
    /// `[sequences, heads, splits, dim]` f32.
    pub(crate) parts: Address,
    /// `[sequences, heads, splits, 2]` f32.
    pub(crate) shares: Address,
}
