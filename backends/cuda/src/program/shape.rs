//! What a program has room for, and what a step has.
//!
//! Next: `room.rs`.

use gimbal_model::Shards;
use gimbal_model::fuse::Fused;
use gimbal_model::graph::{Graph, WeightId};

use crate::launch::{Address, Draw, SPLIT, Type, Weights, tile_rows};

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
    /// All of it, also where each rank has a shard.
    pub(crate) is_whole: bool,
}

/// Words of a tile.
const TILE_WORDS: u32 = 4;
/// Words of what a row is drawn by.
#[expect(clippy::cast_possible_truncation, reason = "twenty")]
const DRAW_WORDS: u32 = Draw::WORDS as u32;
/// Tokens of a sequence for which the lists of a step have room: what penalties need.
const SEEN_MAX: u32 = 2048;

/// What a step has, and so where its words lie: token, position and cell of each row, the rows that are
/// picked, the tokens that each single row sees, block tables, tiles, what picked rows are drawn by, and the lists
/// of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// Rows of all sequences.
    pub(crate) rows: u32,
    /// Of them the first, which are alone in their sequence.
    pub(crate) singles: u32,
    /// Sequences.
    pub(crate) parts: u32,
    /// Blocks of a table's row.
    pub(crate) stride: u32,
    /// Splits of the longest single row's tokens.
    pub(crate) splits: u32,
    /// Tiles of the other rows.
    pub(crate) tiles: u32,
    /// Rows whose logits are wanted.
    pub(crate) outputs: u32,
    /// Whether the device draws their tokens.
    pub(crate) is_drawn: bool,
}

impl Shape {
    /// The next larger of a few shapes: sequences and blocks of a table are powers of two where there is room.
    #[must_use]
    pub(crate) fn padded(self, sizes: Sizes) -> Self {
        let rows = self.rows.next_power_of_two().min(sizes.sequences);
        let most = sizes.context.div_ceil(BLOCK_TOKENS);
        let least = (SPLIT / BLOCK_TOKENS).min(most);
        let stride = self.stride.next_power_of_two().clamp(least, most);
        let splits = (stride * BLOCK_TOKENS).div_ceil(SPLIT);
        Self { rows, singles: rows, parts: rows, stride, splits, tiles: 0, outputs: rows, ..self }
    }

    /// Words before each array: tokens, positions, cells, picked rows, lengths, tables, tiles, draws, lists.
    #[must_use]
    pub(crate) fn places(self) -> [u32; 9] {
        let Self { rows, singles, parts, stride, tiles, outputs, .. } = self;
        let lengths = 3 * rows + outputs;
        let tables = lengths + singles;
        let tiled = (tables + parts * stride).next_multiple_of(TILE_WORDS);
        let draws = tiled + tiles * TILE_WORDS;
        let lists = draws + u32::from(self.is_drawn) * outputs * DRAW_WORDS;
        [0, rows, 2 * rows, 3 * rows, lengths, tables, tiled, draws, lists]
    }
}

impl Sizes {
    /// Words that a step's lists may have: of each sequence a mask, and tokens with their counts.
    #[must_use]
    pub(crate) fn lists_max(self, vocab: u32) -> u32 {
        self.sequences * (vocab.div_ceil(32) + 2 * self.context.min(SEEN_MAX))
    }

    /// Words that a step may have.
    #[must_use]
    pub(crate) fn words_max(self, vocab: u32) -> u32 {
        let Self { rows, sequences, context, .. } = self;
        let stride = context.div_ceil(BLOCK_TOKENS);
        let tiles = rows.div_ceil(tile_rows(256)) + sequences;
        Shape {
            rows,
            singles: sequences,
            parts: sequences,
            stride,
            splits: 0,
            tiles,
            outputs: rows,
            is_drawn: true,
        }
        .places()[8]
            + self.lists_max(vocab)
    }
}

/// What a program is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// The whole model's.
    pub(crate) graph: &'a Graph,
    /// The same, fused.
    pub(crate) fused: &'a [Fused],
    /// What each weight could be kept as: a matrix is where all of which it is made have the same.
    pub(crate) kept: &'a [Weights],
    /// What each rank holds of it.
    pub(crate) shards: &'a Shards,
    /// What weights and activations are.
    pub(crate) kind: Type,
}

/// Where what is needed to choose tokens lies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice {
    /// `[sequences]`: the newest token of each slot.
    pub(crate) newest: Address,
    /// `[rows]` of `Drawn`: what was chosen.
    pub(crate) drawn: Address,
    /// `[SLAB_ROWS, vocab]` f32: logits as penalties and masks leave them; nothing where several ranks hold a
    /// model, for each has a part of the logits only.
    pub(crate) changed: Address,
}

/// Where activations lie, of as many rows as a step may have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// `[rows, hidden]` f32: the residual stream.
    pub(super) hidden: Address,
    /// `[rows, hidden]`: what goes into a product.
    pub(super) normed: Address,
    /// `[rows, (heads + 2 · kv_heads) · dim]`.
    pub(super) qkv: Address,
    /// `[rows, heads · dim]`.
    pub(super) attended: Address,
    /// `[rows, 2 · width]`: gates and what they are multiplied with.
    pub(super) both: Address,
    /// `[rows, width]`.
    pub(super) gated: Address,
    /// `[rows, hidden]`: an output that is normalised before it is added.
    pub(super) out: Address,
    /// `[sequences, heads, splits, dim]` f32.
    pub(super) parts: Address,
    /// `[sequences, heads, splits, 2]` f32.
    pub(super) shares: Address,
    /// `[2, ranks, rows, hidden]` f32: what ranks add up, two exchanges in turns; nothing where there is one rank.
    pub(super) inbox: Address,
}
