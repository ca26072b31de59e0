//! The last station, *stream*: a request's tokens become text, stop strings and finish reasons.
//!
//! Wire formats are not known here. Dropping a [`Generation`] cancels its request. Next:
//! `service.rs`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use gimbal_batch::{RowFault, TokenId};
use gimbal_scheduler::{Finish, Micros, Refusal as SchedulerRefusal, TokenScore};
use gimbal_text::{Decoder, StopStrings, Stopped, Tokenizer};
use metrics::{Label, counter};
use tokio::sync::{mpsc, watch};

use crate::clock::between;
use crate::lane::{Canceller, Condition, LaneEvent, LaneState};
use crate::meters::{self, Station};
use crate::record::labels;
use crate::request::{Completed, Delta, FinishReason, PromptScore, TokenInfo, Usage};
use crate::{Clock, QueueNumbers, Refusal};

/// The running answer to one request.
#[derive(Debug)]
pub struct Generation {
    pub(crate) model: Arc<str>,
    pub(crate) lane_number: u16,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) events: mpsc::Receiver<LaneEvent>,
    pub(crate) canceller: Canceller,
    pub(crate) lane: watch::Receiver<LaneState>,
    pub(crate) clock: Clock,
    pub(crate) prompt: Arc<[TokenId]>,
    pub(crate) usage: Usage,
    pub(crate) begun: Micros,
    pub(crate) choices: Vec<Choice>,
    /// Deltas that are not yet taken.
    pub(crate) ready: VecDeque<Delta>,
    /// As it was on the way in, for a late refusal.
    pub(crate) queue: QueueNumbers,
    /// What is told of the prompt, where it is asked for.
    pub(crate) scores: Option<Scores>,
    /// No token is told.
    pub(crate) is_silent: bool,
    pub(crate) skip_special_tokens: bool,
    pub(crate) kept_tokens: Arc<[u32]>,
    pub(crate) is_counted: bool,
    pub(crate) started: bool,
    /// The lane has forgotten the request: there is nothing to cancel.
    pub(crate) closed: bool,
}

/// One continuation.
#[derive(Debug)]
pub(crate) struct Choice {
    decoder: Decoder,
    stops: StopStrings,
    /// Tokens that come before stop strings count.
    unstoppable: u32,
    /// It has told what there is to tell of the prompt.
    begun: bool,
    ended: bool,
}

/// What is told of the prompt: all of it comes before the first token.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    coming: Vec<PromptScore>,
    all: Option<Arc<[PromptScore]>>,
}

impl Scores {
    /// More of them, in order.
    fn push(&mut self, prompt: &[TokenId], scores: Vec<TokenScore>) {
        let tokens = prompt.iter().skip(1 + self.coming.len());
        let of_one = |(token, TokenScore { score, top }): (&TokenId, TokenScore)| PromptScore {
            id: token.get(),
            logprob: score.logprob,
            rank: score.rank,
            top: top.into_iter().map(|(id, logprob)| (id.get(), logprob)).collect(),
        };
        self.coming.extend(tokens.zip(scores).map(of_one));
    }

    /// All that came.
    fn share(&mut self) -> Arc<[PromptScore]> {
        let coming = &mut self.coming;
        Arc::clone(self.all.get_or_insert_with(|| std::mem::take(coming).into()))
    }
}

impl Choice {
    pub(crate) fn new(stops: StopStrings, unstoppable: u32) -> Self {
        Self { decoder: Decoder::default(), stops, unstoppable, begun: false, ended: false }
    }

    /// The next piece of text.
    fn push(&mut self, text: String) -> Stopped {
        if self.unstoppable <= 1 {
            self.unstoppable = 0;
            return self.stops.push(&text);
        }
        self.unstoppable -= 1;
        Stopped { text, stop: None }
    }
}

impl Generation {
    /// Waits until the request leaves the queue. Optional; [`Generation::next`] works without, but
    /// then a late refusal is an error of all choices.
    ///
    /// # Errors
    /// The lane refuses the request.
    pub async fn started(&mut self) -> Result<(), Refusal> {
        while !self.started {
            match self.events.recv().await {
                Some(LaneEvent::Refused(refusal)) => {
                    self.closed = true;
                    self.started = true;
                    self.choices.clear();
                    return Err(self.refusal(&refusal));
                }
                Some(event) => self.take(event),
                None => {
                    self.closed = true;
                    return Err(self.gone());
                }
            }
        }
        Ok(())
    }

    /// The next piece of text of any choice; `None` when all have ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Delta> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Generation::next`], for those who wait for several at once.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Delta>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Poll::Ready(Some(delta));
            }
            if self.choices.iter().all(|choice| choice.ended) {
                return Poll::Ready(None);
            }
            match self.events.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(event)) => self.take(event),
                Poll::Ready(None) => {
                    let finish = match self.gone() {
                        Refusal::Draining => FinishReason::Drained,
                        refusal => FinishReason::Error(refusal.to_string()),
                    };
                    self.fail(&finish);
                }
            }
        }
    }

    /// Waits for all choices and gives them whole, in order.
    pub async fn complete(mut self) -> (Vec<Completed>, Usage) {
        let mut done: Vec<Completed> = Vec::with_capacity(self.choices.len());
        done.resize_with(self.choices.len(), || Completed {
            text: String::new(),
            tokens: Vec::new(),
            finish: FinishReason::Cancelled,
            scores: None,
        });
        while let Some(delta) = self.next().await {
            let Some(choice) = done.get_mut(usize::from(delta.choice)) else { continue };
            choice.text.push_str(&delta.text);
            choice.scores = delta.scores.or(choice.scores.take());
            choice.tokens.extend(delta.token.map(|token| (token, delta.text)));
            if let Some(finish) = delta.finish {
                choice.finish = finish;
            }
        }
        (done, self.usage)
    }

    /// What it has cost so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The prompt's tokens, as the tokenizer numbers them.
    pub fn prompt(&self) -> impl ExactSizeIterator<Item = u32> {
        self.prompt.iter().map(|id| id.get())
    }

    fn take(&mut self, event: LaneEvent) {
        let from = self.clock.now();
        let span = Station::Stream.span().entered();
        match event {
            LaneEvent::Started { cached_tokens, .. } => {
                self.usage.cached_tokens = cached_tokens;
                self.started = true;
            }
            LaneEvent::Scores(scores) => {
                if let Some(all) = &mut self.scores {
                    all.push(&self.prompt, scores);
                }
            }
            LaneEvent::Token { choice, .. } if self.is_silent => {
                self.end(choice, None, FinishReason::Length);
            }
            LaneEvent::Token { choice, token, logprob, top, drafts, finish } => {
                self.usage.drafts.accepted += drafts.accepted;
                self.usage.drafts.rejected += drafts.rejected;
                self.take_token(choice, token, (logprob, top), finish);
            }
            LaneEvent::Finished { choice, finish } => self.end(choice, None, reason(finish)),
            LaneEvent::Failed(finish) => self.fail(&finish),
            LaneEvent::Refused(refusal) => {
                self.closed = true;
                let why = self.refusal(&refusal).to_string();
                self.fail(&FinishReason::Error(why));
            }
        }
        drop(span);
        Station::Stream.record(between(from, self.clock.now()));
    }

    fn take_token(
        &mut self,
        index: u16,
        token: TokenId,
        (logprob, top): (f32, Vec<(TokenId, f32)>),
        finish: Option<Finish>,
    ) {
        self.started = true;
        let Some(choice) = self.choices.get_mut(usize::from(index)).filter(|c| !c.ended) else {
            return;
        };
        self.usage.completion_tokens += 1;
        if self.usage.first_token.is_none() {
            self.usage.first_token = Some(between(self.begun, self.clock.now()));
        }
        let token = token.get();
        // Both lists have items of one size, so the memory stays.
        let top = top.into_iter().map(|(id, logprob)| (id.get(), logprob)).collect();
        let special = self.tokenizer.is_control(token);
        let is_kept = || self.kept_tokens.binary_search(&token).is_ok();
        let shown = !(special && self.skip_special_tokens) || is_kept();
        let bytes = if shown { self.tokenizer.bytes(token) } else { &[] };
        let text = choice.decoder.push(bytes);
        let stopped = choice.push(text);
        let info = TokenInfo { id: token, logprob, top, special };
        if stopped.stop.is_some() {
            choice.ended = true;
            self.note_finish(&FinishReason::StopSequence);
            self.tell(index, stopped.text, Some(info), Some(FinishReason::StopSequence));
            self.cancel_if_done();
            return;
        }
        let Some(finish) = finish else {
            self.tell(index, stopped.text, Some(info), None);
            return;
        };
        let is_end = self.tokenizer.end_tokens().binary_search(&token).is_ok();
        let finish = match finish {
            Finish::StopToken if !is_end => FinishReason::StopSequence,
            finish => reason(finish),
        };
        self.end(index, Some((info, stopped.text)), finish);
    }

    /// Ends a choice with all text that was held back.
    fn end(&mut self, index: u16, last: Option<(TokenInfo, String)>, finish: FinishReason) {
        let Some(choice) = self.choices.get_mut(usize::from(index)).filter(|c| !c.ended) else {
            return;
        };
        self.started = true;
        choice.ended = true;
        let (token, mut text) = last.map_or((None, String::new()), |(t, text)| (Some(t), text));
        let tail = std::mem::take(&mut choice.decoder).finish();
        let stopped = choice.stops.push(&tail);
        text.push_str(&stopped.text);
        if stopped.stop.is_none() {
            text.push_str(&std::mem::take(&mut choice.stops).finish());
        }
        self.note_finish(&finish);
        self.tell(index, text, token, Some(finish));
        self.closed |= self.choices.iter().all(|choice| choice.ended);
    }

    /// The next piece of a choice; its first one tells of the prompt.
    fn tell(
        &mut self,
        choice: u16,
        text: String,
        token: Option<TokenInfo>,
        finish: Option<FinishReason>,
    ) {
        let begun = self.choices.get_mut(usize::from(choice)).map(|choice| &mut choice.begun);
        let is_first = begun.is_some_and(|begun| !std::mem::replace(begun, true));
        let scores = self.scores.as_mut().filter(|_| is_first).map(Scores::share);
        self.ready.push_back(Delta { choice, text, token, finish, scores });
    }

    fn fail(&mut self, finish: &FinishReason) {
        for index in (0_u16..).take(self.choices.len()) {
            self.end(index, None, finish.clone());
        }
        self.started = true;
        self.closed = true;
    }

    /// Why a lane says nothing any more.
    fn gone(&self) -> Refusal {
        gone(&self.lane.borrow().condition)
    }

    /// The lane need not go on once every choice has found its stop string.
    fn cancel_if_done(&mut self) {
        if !self.closed && self.choices.iter().all(|choice| choice.ended) {
            self.closed = true;
            self.canceller.cancel();
        }
    }

    fn note_finish(&self, finish: &FinishReason) {
        if !self.is_counted {
            return;
        }
        let mut labels = labels(&self.model, self.lane_number);
        labels.push(Label::new("finish", finish.name()));
        counter!(meters::REQUESTS, labels).increment(1);
    }

    fn refusal(&self, refusal: &SchedulerRefusal) -> Refusal {
        let refusal = Refusal::of_scheduler(refusal, self.queue);
        meters::note_refusal(&self.model, refusal.reason());
        refusal
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        // Counted first: whoever sees the lane idle sees why.
        for _ in self.choices.iter().filter(|choice| !choice.ended) {
            self.note_finish(&FinishReason::Cancelled);
        }
        counter!(meters::CANCELLED, "model" => self.model.to_string()).increment(1);
        self.canceller.cancel();
    }
}

/// Why a lane takes no request.
pub(crate) fn gone(condition: &Condition) -> Refusal {
    match condition {
        Condition::Running => Refusal::Draining,
        Condition::Reopening { why } | Condition::Stopped { why } => {
            Refusal::Unavailable { why: why.clone() }
        }
    }
}

fn reason(finish: Finish) -> FinishReason {
    match finish {
        Finish::Length => FinishReason::Length,
        Finish::StopToken => FinishReason::EosToken,
        Finish::Cancelled => FinishReason::Cancelled,
        Finish::Deadline => FinishReason::Deadline,
        Finish::Fault(RowFault::EmptyMask) => FinishReason::Grammar,
        Finish::Fault(fault) => FinishReason::Error(fault.message().to_owned()),
        Finish::Lost => FinishReason::Error("the device was lost too often".to_owned()),
        Finish::Refused(refusal) => {
            let refusal = Refusal::of_scheduler(&refusal, QueueNumbers::default());
            FinishReason::Error(format!("the device was lost and came back smaller: {refusal}"))
        }
    }
}
