//! The choice of tokens: `kernels/sample.cu`.

use super::{Address, Launch};

/// Threads of a block: one to a row, whose passes wait for memory.
const THREADS: u32 = 1024;
/// Where a row has no mask, or no slot.
const NONE: u32 = u32::MAX;

/// A row's parameters, as the kernel reads them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// With the position, decides all noise.
    pub seed: u64,
    /// Of the row in its sequence.
    pub position: u32,
    /// 0 is greedy.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: u32,
    /// 1 keeps all.
    pub top_p: f32,
    /// Logarithm of min-p: negative infinity keeps all.
    pub least: f32,
    /// Divides or multiplies logits of tokens that were seen.
    pub repetition: f32,
    /// Subtracted from logits of tokens in the output.
    pub presence: f32,
    /// The same for each time.
    pub frequency: f32,
    /// Where in the lists the row's pairs of token and times in the output begin, in words, and how many there are;
    /// each token once.
    pub seen: [u32; 2],
    /// The same of tokens that are held back unless nothing else is left.
    pub ends: [u32; 2],
    /// The same of its mask's words.
    pub mask: Option<[u32; 2]>,
    /// Whether `ln Σ e^x` of its logits is told.
    pub is_scored: bool,
    /// The slot whose newest token this becomes.
    pub slot: Option<u32>,
    /// Whether that slot's newest token until then is an output that `seen` lacks.
    pub adds_newest: bool,
}

impl Draw {
    /// Words of a row's parameters.
    pub const WORDS: usize = 20;
    /// The most probable token, which is kept nowhere.
    pub const PADDING: Self = Self {
        seed: 0,
        position: 0,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        least: f32::NEG_INFINITY,
        repetition: 1.0,
        presence: 0.0,
        frequency: 0.0,
        seen: [0; 2],
        ends: [0; 2],
        mask: None,
        is_scored: false,
        slot: None,
        adds_newest: false,
    };

    /// As they lie in memory.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "halves of the seed")]
    pub fn words(&self) -> [u32; Self::WORDS] {
        let [mask, mask_words] = self.mask.unwrap_or([NONE, 0]);
        [
            self.seed as u32,
            (self.seed >> 32) as u32,
            self.position,
            self.temperature.to_bits(),
            self.top_k,
            self.top_p.to_bits(),
            self.least.to_bits(),
            self.repetition.to_bits(),
            self.presence.to_bits(),
            self.frequency.to_bits(),
            self.seen[0],
            self.seen[1],
            self.ends[0],
            self.ends[1],
            mask,
            mask_words,
            self.is_scored.into(),
            self.slot.unwrap_or(NONE),
            self.adds_newest.into(),
            0,
        ]
    }
}

/// Why a row has no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A logit is no finite number.
    NotFinite,
    /// The mask allows no token.
    EmptyMask,
}

/// What a row was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// The token, or why there is none.
    pub token: Result<u32, Fault>,
    /// The token's logit.
    pub logit: f32,
    /// `ln Σ e^x` of the row, where it was asked for.
    pub log_sum: f32,
}

impl Drawn {
    /// Words of a row's answer.
    pub const WORDS: usize = 4;

    /// As the kernel leaves it.
    #[must_use]
    pub const fn read([token, fault, logit, log_sum]: [u32; Self::WORDS]) -> Self {
        let token = match fault {
            0 => Ok(token),
            1 => Err(Fault::NotFinite),
            _ => Err(Fault::EmptyMask),
        };
        Self { token, logit: f32::from_bits(logit), log_sum: f32::from_bits(log_sum) }
    }
}

/// What `sample` reads beside the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choices {
    /// `[rows]` of [`Draw::words`], at a multiple of 8.
    pub draws: Address,
    /// Pairs of token and times in the output, tokens, words of masks.
    pub lists: Address,
    /// The newest token of each slot: read and written.
    pub newest: Address,
}

/// `kernels/sample.cu`: to `drawn` `[rows]` of [`Drawn::WORDS`]; `work` is as large as the logits, scratch of rows with
/// penalties, a mask or ends.
#[must_use]
pub fn sample(
    [drawn, logits, work]: [Address; 3],
    choices: Choices,
    [rows, vocab]: [u32; 2],
) -> Launch {
    let Choices { draws, lists, newest } = choices;
    let launch = Launch::new("sample".to_owned(), [rows, 1, 1], THREADS);
    let launch = launch.at(drawn).at(logits).at(work).at(draws).at(lists).at(newest);
    launch.int(vocab)
}
