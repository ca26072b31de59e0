//! A request inside a lane: who waits for it, when things happened to it, what may come next.
//!
//! Next: `device.rs`.

use gimbal_batch::{Output, Token, TokenId, TokenMask, Want};
use gimbal_scheduler::Micros;
use tokio::sync::mpsc;

use super::message::LaneEvent;
use crate::constraint::Constraint;
use crate::gate::Permit;
use crate::request::FinishReason;

/// A request inside.
pub(super) struct Live {
    pub(super) events: mpsc::Sender<LaneEvent>,
    /// Given back when the lane forgets the request.
    pub(super) _permit: Permit,
    pub(super) times: Times,
    pub(super) is_counted: bool,
    pub(super) unfinished: u16,
    /// For each choice; none where everything may come.
    pub(super) constrained: Vec<Constrained>,
}

/// A choice that is not free, and the mask of its next token once that is known.
pub(super) struct Constrained {
    pub(super) constraint: Box<dyn Constraint>,
    pub(super) mask: Option<TokenMask>,
}

impl Constrained {
    /// Writes masks into the outputs of one part, whose rows read `tokens`: each sample behind the first
    /// is one behind a guess.
    pub(super) fn fill(&mut self, outputs: &mut [Output], tokens: &[Token]) {
        let samples = outputs.iter_mut().filter(|output| output.want == Want::Sample);
        let mut samples: Vec<_> = samples.collect();
        let Some(mask) = &self.mask else { return };
        let guess = |output: &&mut Output| match tokens.get(output.row as usize) {
            Some(Token::Id(id)) => Some(*id),
            _ => None,
        };
        let guesses: Vec<TokenId> = samples.iter().skip(1).filter_map(guess).collect();
        let ahead = match guesses.is_empty() {
            true => Vec::new(),
            false => self.constraint.ahead(mask, &guesses),
        };
        for (output, mask) in samples.iter_mut().zip([mask.clone()].into_iter().chain(ahead)) {
            output.mask = Some(mask);
        }
    }
}

impl Live {
    /// A token of a choice that is not free decides what may follow it.
    pub(super) fn accept(&mut self, news: &LaneEvent) {
        let LaneEvent::Token { choice, token, .. } = news else { return };
        if let Some(constrained) = self.constrained.get_mut(usize::from(*choice)) {
            constrained.constraint.accept(*token);
            constrained.mask = None;
        }
    }

    /// Ends all choices for a reason the scheduler does not know.
    pub(super) fn fail(self, finish: &FinishReason) {
        // Nobody may be waiting any more.
        drop(self.events.try_send(LaneEvent::Failed(finish.clone())));
    }
}

/// When things happened to a request.
pub(crate) struct Times {
    /// At the edge.
    pub(crate) arrived: Micros,
    /// In the lane.
    pub(crate) admitted: Micros,
    /// The step that holds its first rows.
    pub(crate) scheduled: Option<Micros>,
    pub(crate) prompt_tokens: u32,
    pub(crate) max_new_tokens: u32,
    /// How often its sequences gave up their blocks.
    pub(crate) preemptions: u32,
    pub(crate) choices: Vec<Progress>,
}

/// How far a choice is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) tokens: u32,
    pub(crate) first: Option<Micros>,
    pub(crate) newest: Option<Micros>,
}
