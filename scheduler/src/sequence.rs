//! One continuation of one request: its tokens, its counters and the blocks it holds.
//!
//! Four counters say everything about progress: tokens known, samples *promised* by steps in
//! flight, rows *cached* (computed or in flight) and therefore rows *pending*. There is no
//! prefill state and no decode state. Next: `plan.rs`.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use gimbal_batch::{AdapterSlot, BlockId, SampleParams, SeqSlot, Token, TokenId};

use crate::count;
use crate::drafts::Lookup;
use crate::key::Key;
use crate::request::{Client, Priority, PromptScores, RequestId};
use crate::spans::{Span, among};

/// The order in which sequences are served; the greatest is preempted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) priority: Reverse<Priority>,
    pub(crate) arrival: u64,
    pub(crate) choice: u16,
}

/// Where a sequence is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In the queue; holds nothing on the device.
    Waiting,
    /// Holds a slot and blocks.
    Running(SeqSlot),
    /// Has ended, but a step in flight still writes to its slot and blocks.
    Zombie(SeqSlot),
}

/// One continuation of one request.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) id: RequestId,
    pub(crate) choice: u16,
    pub(crate) rank: Rank,
    /// Its job; valid until the sequence ends, so not for zombies.
    pub(crate) job: usize,
    pub(crate) prompt: Arc<[TokenId]>,
    pub(crate) spans: Arc<[Span]>,
    pub(crate) output: Vec<TokenId>,
    pub(crate) output_max: u32,
    pub(crate) params: Arc<SampleParams>,
    /// What is told of the prompt, if it is this sequence that tells it.
    pub(crate) scores: Option<PromptScores>,
    /// Rows before this one tell nothing of the prompt, or have told it.
    pub(crate) scored: u32,
    pub(crate) client: Client,
    pub(crate) adapter: AdapterSlot,
    /// Not planned while a sample of it is in flight: a grammar needs all its tokens, and so do guesses
    /// that are worth making.
    pub(crate) serial: bool,
    /// A grammar decides.
    pub(crate) masked: bool,
    pub(crate) state: State,
    /// The device was told of the slot.
    pub(crate) opened: bool,
    /// Tokens whose KV is computed or will be by steps in flight.
    pub(crate) cached: u32,
    /// Samples that steps in flight will bring.
    pub(crate) promised: u32,
    /// Steps in flight with rows of this sequence.
    pub(crate) in_flight: u32,
    /// Rows in the step being planned.
    pub(crate) rows: u32,
    /// Guesses that follow the newest token in the step being planned or in flight.
    pub(crate) drafts: Vec<TokenId>,
    /// Where guesses come from, if they are made at all.
    pub(crate) lookup: Option<Lookup>,
    /// Blocks that hold tokens `0..`, in order.
    pub(crate) table: Vec<BlockId>,
    /// Names of the full blocks of the known tokens, as far as they were needed.
    pub(crate) keys: Vec<Key>,
    /// Blocks whose content was offered for sharing.
    pub(crate) published: usize,
    /// When it last had rows: a step's number.
    pub(crate) served: u64,
    /// Tokens of output when it was seated.
    pub(crate) seated: u32,
    /// Its mask is late: it has no rows until it comes.
    pub(crate) held: bool,
    /// Somebody else has a better claim to its seat: it has no more rows, and leaves when none are in
    /// flight.
    pub(crate) gives_way: bool,
}

impl Sequence {
    /// Tokens known to the host.
    pub(crate) fn known(&self) -> u32 {
        count(self.prompt.len() + self.output.len())
    }

    /// Tokens at the end of its life, at most.
    pub(crate) fn tokens_max(&self) -> u32 {
        count(self.prompt.len()) + self.output_max
    }

    /// Rows that must be computed before the next token can be sampled.
    pub(crate) fn pending(&self) -> u32 {
        self.known() + self.promised - self.cached
    }

    /// True when a step may hold rows of it.
    pub(crate) fn is_ready(&self) -> bool {
        let has_more = self.known() + self.promised < self.tokens_max();
        has_more && !self.gives_way && !self.held && (self.promised == 0 || !self.serial)
    }

    /// True when its next row gives the next token.
    pub(crate) fn is_decoding(&self) -> bool {
        self.pending() == 1 && self.is_ready()
    }

    /// True when some of its known tokens are not computed.
    pub(crate) fn is_prefilling(&self) -> bool {
        self.pending() > 1 && self.is_ready()
    }

    /// The first row that has to tell something of the prompt; past all rows where none has.
    pub(crate) fn unscored(&self) -> u32 {
        let last = count(self.prompt.len()) - 1;
        if self.scores.is_some() && self.scored < last { self.scored } else { u32::MAX }
    }

    /// Rows among `first..end` that tell something of the prompt: each of the token after it.
    pub(crate) fn scoring(&self, first: u32, end: u32) -> Range<u32> {
        let end = end.min(count(self.prompt.len()) - 1);
        self.unscored().max(first).min(end)..end
    }

    /// Rows of the span before which it stands, if it does.
    pub(crate) fn span_rows(&self) -> Option<u32> {
        let next = among(&self.spans, self.cached, self.cached + 1).first()?;
        Some(next.end() - self.cached)
    }

    /// What the row at `position` reads.
    pub(crate) fn token(&self, position: u32) -> Token {
        match self.known_token(position) {
            Some(token) => Token::Id(token),
            None => match self.drafts.get((position - self.known()) as usize) {
                Some(draft) => Token::Id(*draft),
                None => Token::Last,
            },
        }
    }

    /// The token at `position`, once the host knows it.
    pub(crate) fn known_token(&self, position: u32) -> Option<TokenId> {
        let position = position as usize;
        match position.checked_sub(self.prompt.len()) {
            None => Some(self.prompt[position]),
            Some(at) => self.output.get(at).copied(),
        }
    }

    /// Names the full blocks among the first `tokens` known tokens.
    pub(crate) fn name_blocks(&mut self, domain: &Domain, tokens: u32) {
        let size = domain.block_tokens as usize;
        while (self.keys.len() + 1) * size <= tokens as usize {
            let parent = self.keys.last().copied().unwrap_or(domain.root);
            let first = count(self.keys.len() * size);
            let tokens = (first..first + domain.block_tokens)
                .map(|p| self.known_token(p).expect("only known tokens are named"));
            let spans = among(&self.spans, first, first + domain.block_tokens);
            let key = parent.then(domain.secret, tokens, spans);
            self.keys.push(key);
        }
    }

    /// Gives up the slot and all progress on the device.
    pub(crate) fn restart(&mut self) {
        assert_eq!(self.in_flight, 0, "only a sequence at rest restarts");
        assert!(self.table.is_empty(), "its blocks were released");
        self.state = State::Waiting;
        (self.opened, self.gives_way) = (false, false);
        (self.cached, self.promised, self.rows, self.published) = (0, 0, 0, 0);
        self.drafts.clear();
    }
}

/// What names of blocks are made from, beside tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Domain {
    pub(crate) secret: [u64; 2],
    pub(crate) root: Key,
    pub(crate) block_tokens: u32,
}
