//! What a device is asked to compute in one step.
//!
//! No legality is judged here (see `check.rs`) and nothing is owned but flat vectors, which the
//! caller reuses from step to step. Next: `answer.rs`.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::params::{SampleParams, TokenMask};
use crate::token::TokenId;

/// A physical block of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// A place for one running sequence on the device, with its token history and sampler state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqSlot(pub u32);

/// A loaded adapter; 0 is the base model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterSlot(pub u16);

/// A step, numbered by the scheduler in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId(pub u64);

/// LoRA weights that a slot holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adapter {
    /// Tells contents apart that stood in one slot one after the other; never 0.
    pub generation: u64,
    /// Where the weights lie.
    pub path: PathBuf,
}

/// One step of work. Order of effect: `adapters`, `closes`, `opens`, then the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// One entry a row; the rows of a part stand together.
    pub tokens: Vec<Token>,
    /// Contiguous runs of rows, in row order; together they cover `tokens` exactly.
    pub parts: Vec<Part>,
    /// Block tables of all parts, one after the other.
    pub blocks: Vec<BlockId>,
    /// Wanted results, in ascending row order.
    pub outputs: Vec<Output>,
    /// Rows whose embedding is given instead of looked up (images), in ascending row order; each
    /// has as many numbers as the model is wide.
    pub inject: Vec<(u32, Arc<[f32]>)>,
    /// Adapters that are loaded into slots, or unloaded, before anything else.
    pub adapters: Vec<(AdapterSlot, Option<Arc<Adapter>>)>,
    /// Slots that (re)start with this step.
    pub opens: Vec<Open>,
    /// Slots whose sequence is gone.
    pub closes: Vec<SeqSlot>,
}

impl Batch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.parts.clear();
        self.blocks.clear();
        self.outputs.clear();
        self.inject.clear();
        self.adapters.clear();
        self.opens.clear();
        self.closes.clear();
    }

    /// The block table of a part, which holds tokens `0..start + rows`.
    #[must_use]
    pub fn table(&self, part: &Part) -> &[BlockId] {
        &self.blocks[part.blocks.start as usize..part.blocks.end as usize]
    }
}

/// The token of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A token the host knows.
    Id(TokenId),
    /// The newest token sampled in this part's slot; the host may not know it yet.
    Last,
}

/// Contiguous rows of one sequence, without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The sequence's slot.
    pub slot: SeqSlot,
    /// Rows of this part; at least 1.
    pub rows: u32,
    /// Position of the first row; equals the count of tokens whose KV is cached.
    pub start: u32,
    /// The part's block table as a range of `Batch::blocks`.
    pub blocks: Range<u32>,
    /// The adapter all rows use.
    pub adapter: AdapterSlot,
}

/// A slot (re)starts: its history for penalties and its sampler.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The slot.
    pub slot: SeqSlot,
    /// All tokens known so far, the prompt first. Tokens sampled later in the slot are appended
    /// by the backend.
    pub tokens: Arc<[TokenId]>,
    /// How many of `tokens` are the prompt.
    pub prompt: u32,
    /// How tokens are chosen.
    pub params: Arc<SampleParams>,
}

/// One wanted result.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Row whose result is wanted.
    pub row: u32,
    /// What is wanted of it.
    pub want: Want,
    /// Tokens allowed here, where a grammar decides.
    pub mask: Option<TokenMask>,
}

/// What is wanted of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// The next token, chosen by the slot's parameters.
    Sample,
    /// How probable tokens are as the next one.
    Score {
        /// The tokens to score.
        ids: Arc<[TokenId]>,
        /// Alternatives to report beside them.
        top: u8,
    },
    /// The model's output row itself (an embedding).
    Row,
}
