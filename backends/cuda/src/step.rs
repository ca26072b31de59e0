//! The `Backend`: `submit` queues a step on the device, `collect` waits for its logits and chooses tokens.
//!
//! Depth is 1, and tokens are chosen by the hal's host sampler. Steps of single rows alone are padded to a few
//! shapes, and the launches of each shape are recorded when it first comes. Next: `platform.rs`.

use std::ops::Range;
use std::time::{Duration, Instant};

use gimbal_batch::{Answer, Batch, Limits, Outcome, RowFault, StepId, TokenId};
use gimbal_hal::sample::Sampler;
use gimbal_hal::{Backend, DeviceError};

use crate::inputs::Inputs;
use crate::program::{SLAB_ROWS, Stages};
use crate::rank::Rank;

/// How long logits after the first slab are waited for.
const SLAB_TIME: Duration = Duration::from_secs(60);

/// A model on one device, or on several that hold a part each.
#[derive(Debug)]
pub(crate) struct CudaBackend {
    limits: Limits,
    ranks: Vec<Rank>,
    sampler: Sampler,
    inputs: Inputs,
    queued: Option<StepId>,
    batch: Batch,
    ids: Vec<TokenId>,
    /// One output's logits, of all ranks.
    row: Vec<f32>,
}

impl CudaBackend {
    /// Ranks in their order, whose programs are of the same sizes.
    ///
    /// # Panics
    /// If there is none: a bug of the caller.
    pub(crate) fn new(limits: Limits, ranks: Vec<Rank>) -> Self {
        assert!(!ranks.is_empty(), "a model lies on a device");
        Self {
            sampler: Sampler::new(limits.sequences_max),
            inputs: Inputs::default(),
            queued: None,
            batch: Batch::default(),
            ids: Vec::new(),
            row: vec![0.0; limits.vocab as usize],
            limits,
            ranks,
        }
    }

    fn queue(&mut self) -> Result<(), DeviceError> {
        self.sampler.begin(&self.batch, &mut self.ids);
        let is_padded = self.inputs.read(self.ranks[0].program(), &self.batch, &self.ids);
        for rank in &mut self.ranks {
            rank.queue_words(self.inputs.words())?;
        }
        let shape = self.inputs.shape;
        let first = 0..shape.outputs.min(SLAB_ROWS);
        match &mut self.ranks[..] {
            // What is recorded runs on one device.
            [rank] if is_padded => rank.replay(shape)?,
            ranks => {
                run_together(ranks, |rank| rank.program().body(shape), shape.rows)?;
                if !first.is_empty() {
                    run_together(ranks, |rank| rank.program().head(shape, first.clone()), 0)?;
                }
            }
        }
        self.queue_logits(self.wanted(first))
    }

    /// Of a slab's outputs those that the batch wants: the others are padding.
    fn wanted(&self, outputs: Range<u32>) -> usize {
        (outputs.end as usize).min(self.batch.outputs.len()) - outputs.start as usize
    }

    fn queue_logits(&mut self, outputs: usize) -> Result<(), DeviceError> {
        self.ranks.iter_mut().try_for_each(|rank| rank.queue_logits(outputs))
    }

    /// Waits for all ranks; false if one has not come so far within the time.
    fn wait(&self, timeout: Duration) -> Result<bool, DeviceError> {
        let until = Instant::now() + timeout;
        for rank in &self.ranks {
            if !rank.wait(until.saturating_duration_since(Instant::now()))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Answers from the logits of all outputs, slab by slab; the first one has been made.
    fn answer(&mut self) -> Result<Outcome, DeviceError> {
        let count = u32::try_from(self.batch.outputs.len()).unwrap_or(u32::MAX);
        let mut outcome = Outcome::with_capacity(count as usize);
        for first in (0..count).step_by(SLAB_ROWS as usize) {
            let slab = first..count.min(first + SLAB_ROWS);
            if first > 0 {
                let shape = self.inputs.shape;
                run_together(&self.ranks, |rank| rank.program().head(shape, slab.clone()), 0)?;
                self.queue_logits(slab.len())?;
                if !self.wait(SLAB_TIME)? {
                    let why = format!("logits were not made within {SLAB_TIME:?}");
                    return Err(DeviceError::Lost { why });
                }
            }
            for (at, index) in slab.enumerate() {
                self.gather(at);
                let (sampler, row) = (&mut self.sampler, &mut self.row);
                outcome.push(answer(sampler, &self.batch, index as usize, row));
            }
        }
        Ok(outcome)
    }

    /// Puts a row of the slab's logits together: each rank has some of the columns, or all.
    fn gather(&mut self, at: usize) {
        let mut done = 0;
        for rank in &self.ranks {
            let columns = rank.program().vocab() as usize;
            let from = &rank.logits()[at * columns..(at + 1) * columns];
            if let Some(room) = self.row.get_mut(done..done + columns) {
                room.copy_from_slice(from);
                done += columns;
            }
        }
    }
}

/// Queues the same stages on all ranks, which exchange parts of so many rows between one and the next.
fn run_together(
    ranks: &[Rank],
    stages: impl Fn(&Rank) -> Stages,
    rows: u32,
) -> Result<(), DeviceError> {
    let all: Vec<Stages> = ranks.iter().map(stages).collect();
    let count = all.first().map_or(0, |stages| stages.stages().len());
    for stage in 0..count {
        for (rank, stages) in ranks.iter().zip(&all) {
            rank.run(&stages.stages()[stage])?;
        }
        if stage + 1 == count {
            break;
        }
        let others = |rank: &Rank| {
            let own = rank.program().rank;
            ranks.iter().filter(move |other| other.program().rank != own)
        };
        for rank in ranks {
            others(rank).try_for_each(|other| rank.send(other, stage, rows))?;
            rank.mark_sent()?;
        }
        for rank in ranks {
            others(rank).try_for_each(|other| rank.receive(other))?;
        }
    }
    Ok(())
}

/// The answer of output `index`, from its logits.
fn answer(
    sampler: &mut Sampler,
    batch: &Batch,
    index: usize,
    logits: &mut [f32],
) -> Result<Answer, RowFault> {
    let output = &batch.outputs[index];
    let mut first = 0;
    for part in &batch.parts {
        if output.row < first + part.rows {
            return sampler.answer(part, output.row - first, output, logits);
        }
        first += part.rows;
    }
    unreachable!("a legal batch wants rows that it has")
}

impl Backend for CudaBackend {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        assert!(self.queued.is_none(), "depth is 1");
        batch.check(&self.limits).expect("the scheduler makes legal batches");
        self.batch.clone_from(batch);
        self.queue()?;
        self.queued = Some(step);
        Ok(())
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        let step = self.queued.expect("a step is queued");
        if !self.wait(timeout)? {
            return Err(DeviceError::Timeout { step, waited: timeout });
        }
        let outcome = self.answer()?;
        self.queued = None;
        Ok((step, outcome))
    }
}

impl Drop for CudaBackend {
    fn drop(&mut self) {
        // What is queued reads and writes memory of all ranks, which end one after the other.
        self.ranks.iter().for_each(Rank::settle);
    }
}
