//! Several ranks that act as one device: each holds a part of the model.
//!
//! Ranks run on their own (other processes, other devices): `submit` never waits and `collect` asks one
//! after the other under one deadline. Next: `sample.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gimbal_batch::{Batch, Limits, Outcome, StepId};

use crate::{Backend, DeviceError};

/// A group; rank 0 samples and its answers count.
pub struct Group {
    ranks: Vec<Box<dyn Backend>>,
    /// Steps in flight, the oldest first: what each rank has answered so far.
    steps: VecDeque<(StepId, Vec<Option<Outcome>>)>,
    /// The rank that failed, and how: nothing more is heard of any.
    poisoned: Option<String>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ranks, steps, poisoned } = self;
        let mut out = f.debug_struct("Group");
        out.field("ranks", &ranks.len()).field("steps", steps).field("poisoned", poisoned).finish()
    }
}

impl Group {
    /// Joins ranks, the first of which samples.
    ///
    /// # Errors
    /// The ranks' limits differ.
    ///
    /// # Panics
    /// If there is no rank: a bug of the caller.
    pub fn new(ranks: Vec<Box<dyn Backend>>) -> Result<Self, DeviceError> {
        let first = ranks.first().expect("a group has ranks").limits();
        if let Some(rank) = ranks.iter().position(|rank| rank.limits() != first) {
            let why = format!("rank {rank} has other limits than rank 0");
            return Err(DeviceError::Model { why });
        }
        Ok(Self { ranks, steps: VecDeque::new(), poisoned: None })
    }

    /// One rank's failure is everybody's: none can go on without it.
    fn poison(&mut self, rank: usize, error: DeviceError) -> DeviceError {
        let why = format!("rank {rank} of {}: {error}", self.ranks.len());
        self.poisoned = Some(why.clone());
        match error {
            // Whether to try again is the device's to say.
            DeviceError::OutOfMemory { .. } | DeviceError::Library { .. } => error,
            DeviceError::Model { .. } => DeviceError::Model { why },
            DeviceError::Timeout { .. } | DeviceError::Lost { .. } => DeviceError::Lost { why },
        }
    }

    fn check(&self) -> Result<(), DeviceError> {
        self.poisoned.clone().map_or(Ok(()), |why| Err(DeviceError::Lost { why }))
    }
}

impl Backend for Group {
    fn limits(&self) -> &Limits {
        self.ranks[0].limits()
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        self.check()?;
        for rank in 0..self.ranks.len() {
            if let Err(error) = self.ranks[rank].submit(step, batch) {
                return Err(self.poison(rank, error));
            }
        }
        self.steps.push_back((step, self.ranks.iter().map(|_| None).collect()));
        Ok(())
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        self.check()?;
        let until = Instant::now() + timeout;
        for rank in 0..self.ranks.len() {
            let (step, answers) = self.steps.front_mut().expect("a step is queued");
            if answers[rank].is_some() {
                continue;
            }
            match self.ranks[rank].collect(until.saturating_duration_since(Instant::now())) {
                Ok((found, outcome)) if found == *step => answers[rank] = Some(outcome),
                Ok((found, _)) => {
                    let why = format!("step {} instead of {}", found.0, step.0);
                    return Err(self.poison(rank, DeviceError::Lost { why }));
                }
                Err(DeviceError::Timeout { step, waited }) => {
                    return Err(DeviceError::Timeout { step, waited });
                }
                Err(error) => return Err(self.poison(rank, error)),
            }
        }
        let (step, answers) = self.steps.pop_front().expect("a step is queued");
        let first = answers.into_iter().next().flatten();
        Ok((step, first.expect("every rank has answered")))
    }
}
