//! Several generations of one HTTP request: started together, read together.
//!
//! Next: `stream.rs`.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gimbal_engine::{
    Completed, Delta, Drafts, FinishReason, GenerateRequest, Generation, Service, Usage,
};

use crate::fault::{Fault, Kind};

/// What a client can do about an answer that its grammar ends.
const GRAMMAR: &str = "the grammar cannot go on here: no token of the model fits it, or finding out which \
    do passes a limit; make it smaller, or less ambiguous";

/// Running generations, one for each prompt.
#[derive(Debug)]
pub(crate) struct Generations {
    running: Vec<Generation>,
    /// Whom to ask first, in turns.
    next: usize,
}

impl Generations {
    /// Takes all permits or none, submits all prompts, and waits until the first steps are made;
    /// only then can a status still be chosen.
    pub(crate) async fn start(
        service: &Arc<Service>,
        requests: Vec<GenerateRequest>,
        patience: Option<Duration>,
    ) -> Result<Self, Fault> {
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let permits = service.permits(count)?;
        let mut running = Vec::with_capacity(requests.len());
        for (permit, request) in permits.into_iter().zip(requests) {
            running.push(service.submit(permit, request).await?);
        }
        let started = async {
            for generation in &mut running {
                generation.started().await?;
            }
            Ok::<(), Fault>(())
        };
        match patience {
            None => started.await?,
            Some(patience) => {
                tokio::time::timeout(patience, started).await.unwrap_or_else(|_| {
                    let seconds = patience.as_secs();
                    Err(Fault::new(Kind::Deadline, format!("not begun within {seconds} s")))
                })?
            }
        }
        Ok(Self { running, next: 0 })
    }

    /// The next piece of any of them, with the number of its prompt.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Delta)>> {
        let count = self.running.len();
        let mut pending = false;
        for turn in 0..count {
            let index = (self.next + turn) % count;
            match self.running[index].poll_next(context) {
                Poll::Ready(Some(delta)) => {
                    self.next = index + 1;
                    return Poll::Ready(Some((index, delta)));
                }
                Poll::Ready(None) => {}
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(None) }
    }

    /// The prompt's tokens of one of them.
    pub(crate) fn prompt(&self, index: usize) -> Vec<u32> {
        self.running.get(index).map_or_else(Vec::new, |running| running.prompt().collect())
    }

    /// What one of them has cost.
    pub(crate) fn usage_of(&self, index: usize) -> Usage {
        self.running.get(index).map_or_else(Usage::default, Generation::usage)
    }

    /// What all of them cost.
    pub(crate) fn usage(&self) -> Usage {
        self.running.iter().map(Generation::usage).fold(Usage::default(), add)
    }

    /// Waits for all. A continuation that failed, or whose time was over, fails them all.
    pub(crate) async fn complete(self) -> Result<(Vec<Vec<Completed>>, Usage), Fault> {
        let (mut all, mut usage) = (Vec::with_capacity(self.running.len()), Usage::default());
        for generation in self.running {
            let (choices, cost) = generation.complete().await;
            usage = add(usage, cost);
            for choice in &choices {
                if let Some(fault) = fault_of(&choice.finish, !choice.tokens.is_empty()) {
                    return Err(fault);
                }
            }
            all.push(choices);
        }
        Ok((all, usage))
    }
}

/// What a finish reason means to a client that is still owed an answer.
pub(crate) fn fault_of(finish: &FinishReason, begun: bool) -> Option<Fault> {
    match finish {
        FinishReason::EosToken | FinishReason::Length | FinishReason::StopSequence => None,
        FinishReason::Grammar => Some(Fault::new(Kind::Invalid, GRAMMAR)),
        FinishReason::Error(why) => Some(Fault::new(Kind::Internal, why.clone())),
        FinishReason::Drained => {
            Some(Fault::new(Kind::Draining, "the server shut down before this request was done"))
        }
        FinishReason::Cancelled => Some(Fault::new(Kind::Internal, "the request was cancelled")),
        FinishReason::Deadline if begun => {
            Some(Fault::new(Kind::TimedOut, "the time for this request is over"))
        }
        FinishReason::Deadline => {
            Some(Fault::new(Kind::Deadline, "the time for this request was over in the queue"))
        }
    }
}

fn add(a: Usage, b: Usage) -> Usage {
    Usage {
        prompt_tokens: a.prompt_tokens.saturating_add(b.prompt_tokens),
        completion_tokens: a.completion_tokens.saturating_add(b.completion_tokens),
        cached_tokens: a.cached_tokens.saturating_add(b.cached_tokens),
        drafts: Drafts {
            accepted: a.drafts.accepted.saturating_add(b.drafts.accepted),
            rejected: a.drafts.rejected.saturating_add(b.drafts.rejected),
        },
        first_token: a.first_token.max(b.first_token),
    }
}
