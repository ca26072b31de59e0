//! What a device can do, as data: the only way in which devices differ above the hal.
//!
//! No behaviour lives here. Next: `step.rs`.

use crate::Part;

/// Everything a scheduler may know about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Geometry of the KV cache.
    pub kv: Kv,
    /// Which row counts a step may have.
    pub shape: Shape,
    /// Whether a prompt may be computed in pieces.
    pub prefill: Prefill,
    /// Sequence slots: ids `0..sequences_max` are valid.
    pub sequences_max: u32,
    /// Longest sequence, prompt and output together, in tokens.
    pub context_tokens_max: u32,
    /// Tokens the model knows: ids `0..vocab`.
    pub vocab: u32,
    /// Adapters that can be loaded at once: slots `1..=adapters_max`; 0 is the base model.
    pub adapters_max: u32,
    /// Numbers of an injected row, which is the model's width; 0 where none can be injected.
    pub inject_width: u32,
    /// Steps that may be submitted before the oldest is collected; at least 1.
    pub depth: u32,
    /// What the device's sampler understands.
    pub sampling: Sampling,
    /// True when a row's result does not depend on its neighbours, to the bit.
    pub batch_invariant: bool,
}

/// Geometry of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kv {
    /// Blocks that sequences may own: ids `0..blocks`.
    pub blocks: u32,
    /// Tokens a block holds.
    pub block_tokens: u32,
}

impl Kv {
    /// Blocks needed to hold `tokens` tokens.
    #[must_use]
    pub fn blocks_for(self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_tokens)
    }
}

/// Which row counts a step may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any mixture of parts with at most `rows_max` rows in total.
    Varlen {
        /// Rows a step may have.
        rows_max: u32,
    },
    /// Compiled shapes. A step must fit one of them: at most `sequences` parts of at most
    /// `rows_each` rows, none reaching past `context` tokens. The backend pads.
    Buckets(Vec<Bucket>),
}

/// One compiled shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// Parts the shape holds.
    pub sequences: u32,
    /// Rows of each part.
    pub rows_each: u32,
    /// Tokens of context each part may reach.
    pub context: u32,
}

impl Bucket {
    /// Rows of a step of this shape, padding included.
    #[must_use]
    pub const fn rows(self) -> u32 {
        self.sequences.saturating_mul(self.rows_each)
    }

    /// True if a step's parts lie within the shape.
    #[must_use]
    pub fn holds(self, parts: &[Part]) -> bool {
        let holds =
            |part: &Part| part.rows <= self.rows_each && part.start + part.rows <= self.context;
        parts.len() <= self.sequences as usize && parts.iter().all(holds)
    }

    /// Of several the one that costs a step the least: the fewest rows, and of those the shortest context.
    #[must_use]
    pub fn smallest(buckets: &[Self], parts: &[Part]) -> Option<Self> {
        let holds = buckets.iter().copied().filter(|bucket| bucket.holds(parts));
        holds.min_by_key(|bucket| (bucket.rows(), bucket.context))
    }
}

/// Whether a prompt may be computed in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefill {
    /// Over several steps, each continuing on the cached KV of the earlier ones.
    Chunked,
    /// In one step only.
    Whole,
}

/// What the device's sampler understands, in numbers; anything else is refused at admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Temperature, top-k, top-p, min-p and seed; otherwise greedy only.
    pub random: bool,
    /// Candidates a random choice is made from, at most: where this is not `u32::MAX`, a `top_k`
    /// from 1 to it must be asked for.
    pub top_k_max: u32,
    /// Repetition, presence and frequency penalties.
    pub penalties: bool,
    /// Token masks (grammars).
    pub masks: bool,
    /// Tokens that can be kept back before `min_tokens`, at most.
    pub ends_max: u32,
    /// Alternatives with log probabilities per token, at most.
    pub logprobs_max: u8,
    /// Tokens of one `Want::Score`, or of `logprob_ids`, at most; 0 where nothing can be scored.
    pub scores_max: u32,
    /// `Want::Row`.
    pub rows: bool,
    /// Samples of several rows of a part: guesses are checked by them.
    pub drafts: bool,
}

impl Sampling {
    /// What the hal's host sampler understands.
    pub const HOST: Self = Self {
        random: true,
        top_k_max: u32::MAX,
        penalties: true,
        masks: true,
        ends_max: u32::MAX,
        logprobs_max: 20,
        scores_max: u32::MAX,
        rows: true,
        drafts: true,
    };
}
