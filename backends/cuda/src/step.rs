//! The `Backend`: `submit` queues a step on the device, `collect` waits for it and answers.
//!
//! Where one device holds the model, it draws the tokens, and the next step is queued before the host knows them.
//! Where the answer needs logits on the host (scores, alternatives, output rows), where lists are too long, and on
//! several ranks, the hal's host sampler chooses, and the next step waits here until it has. Steps of single rows
//! alone are padded to a few shapes, and the launches of each shape are recorded when it first comes. Next:
//! `platform.rs`.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gimbal_batch::{Answer, Batch, Limits, Outcome, RowFault, SeqSlot, StepId, TokenId, Want};
use gimbal_hal::sample::Sampler;
use gimbal_hal::{Backend, DeviceError};

use crate::draws::{Draws, Row};
use crate::inputs::Inputs;
use crate::launch::{Drawn, Fault, of_slot};
use crate::program::{Program, SLAB_ROWS, Stages};
use crate::rank::{DEPTH, Rank};

/// How long logits after the first slab are waited for.
const SLAB_TIME: Duration = Duration::from_secs(60);

/// A model on one device, or on several that hold a part each.
#[derive(Debug)]
pub(crate) struct CudaBackend {
    limits: Limits,
    ranks: Vec<Rank>,
    sampler: Sampler,
    draws: Draws,
    inputs: Inputs,
    /// Words of the rows' tokens.
    ids: Vec<u32>,
    /// Oldest first.
    steps: VecDeque<Step>,
    /// Batches of steps that are done, for their memory.
    spare: Vec<Batch>,
    /// Where the next step's words and answers are, of `DEPTH` places.
    place: usize,
    /// One output's logits, of all ranks.
    row: Vec<f32>,
}

/// A step that was submitted.
#[derive(Debug)]
struct Step {
    id: StepId,
    batch: Batch,
    place: usize,
    by: By,
    /// Of each output, if the device draws.
    asked: Vec<Asked>,
}

/// Who chooses a step's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Nobody yet: it is not queued before the host has chosen the tokens of the step before.
    Nobody,
    Device,
    Host,
}

/// An output whose token the device draws.
#[derive(Clone, Copy, Debug)]
struct Asked {
    slot: SeqSlot,
    position: u32,
    is_newest: bool,
    has_logprob: bool,
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
            draws: Draws::default(),
            inputs: Inputs::default(),
            ids: Vec::new(),
            steps: VecDeque::new(),
            spare: Vec::new(),
            place: 0,
            row: vec![0.0; limits.vocab as usize],
            limits,
            ranks,
        }
    }

    /// Queues a step on the device.
    fn queue(&mut self, step: &mut Step) -> Result<(), DeviceError> {
        let (ids, batch) = (&mut self.ids, &step.batch);
        ids.clear();
        self.sampler.begin_ahead(batch, |slot, id| {
            ids.push(id.map_or(of_slot(slot.0), TokenId::get));
        });
        self.draws.clear();
        step.asked.clear();
        let is_drawn = self.draw(step);
        step.by = if is_drawn { By::Device } else { By::Host };
        step.place = self.place;
        self.place = (self.place + 1) % DEPTH;
        let draws = is_drawn.then_some(&self.draws);
        let program = self.ranks[0].program();
        let is_padded = self.inputs.read(program, &step.batch, &self.ids, draws);
        for rank in &mut self.ranks {
            rank.queue_words(step.place, self.inputs.words())?;
        }
        self.run(is_padded)?;
        let outputs = step.batch.outputs.len();
        for rank in &mut self.ranks {
            match step.by {
                By::Device => rank.queue_drawn(step.place, outputs)?,
                _ => rank.queue_logits(step.place, outputs.min(SLAB_ROWS as usize))?,
            }
        }
        Ok(())
    }

    /// Queues the launches of the step whose inputs were read.
    fn run(&mut self, is_padded: bool) -> Result<(), DeviceError> {
        let shape = self.inputs.shape;
        match &mut self.ranks[..] {
            // What is recorded runs on one device.
            [rank] if is_padded => rank.replay(shape),
            ranks => {
                run_together(ranks, |rank| rank.program().body(shape), shape.rows)?;
                Program::slabs(shape).try_for_each(|slab| {
                    run_together(ranks, |rank| rank.program().head(shape, slab.clone()), 0)
                })
            }
        }
    }

    /// Says what the device draws a step's tokens by; false if it does not.
    fn draw(&mut self, step: &mut Step) -> bool {
        if self.ranks.len() > 1 {
            return false;
        }
        let (mut outputs, mut first) = (step.batch.outputs.iter().peekable(), 0);
        for part in &step.batch.parts {
            while let Some(output) = outputs.next_if(|output| output.row < first + part.rows) {
                let (history, prompt, params) = self.sampler.history(part.slot);
                let tells_others = params.logprobs.is_some_and(|count| count > 0)
                    || !params.logprob_ids.is_empty();
                if output.want != Want::Sample || tells_others {
                    return false;
                }
                let row = output.row - first;
                let position = part.start + row;
                let is_newest = row + 1 == part.rows;
                let asked = Asked {
                    slot: part.slot,
                    position,
                    is_newest,
                    has_logprob: params.logprobs.is_some(),
                };
                step.asked.push(asked);
                self.draws.add(Row {
                    params,
                    slot: part.slot.0,
                    position,
                    history: &history[..history.len().min(position as usize + 1)],
                    prompt,
                    mask: output.mask.as_ref(),
                    is_newest,
                });
            }
            first += part.rows;
        }
        self.draws.lists.len() <= self.ranks[0].program().words_max()[1] as usize
    }

    /// Waits for a step on all ranks; false if one has not come so far within the time.
    fn wait(&self, place: usize, timeout: Duration) -> Result<bool, DeviceError> {
        let until = Instant::now() + timeout;
        for rank in &self.ranks {
            if !rank.wait(place, until.saturating_duration_since(Instant::now()))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the device has drawn.
    fn read(&mut self, step: &Step) -> Outcome {
        let answer = |(asked, drawn): (&Asked, Drawn)| {
            let token = drawn.token.map(TokenId::new).map_err(|fault| match fault {
                Fault::NotFinite => RowFault::NotFinite,
                Fault::EmptyMask => RowFault::EmptyMask,
            })?;
            if asked.is_newest {
                self.sampler.tell(asked.slot, asked.position, token);
            }
            let logprob = if asked.has_logprob { drawn.logit - drawn.log_sum } else { 0.0 };
            Ok(Answer::Sample { token, logprob, top: Vec::new() })
        };
        step.asked.iter().zip(self.ranks[0].drawn(step.place)).map(answer).collect()
    }

    /// What the host chooses from the logits of all outputs, slab by slab; the first one has been made.
    fn choose(&mut self, step: &Step) -> Result<Outcome, DeviceError> {
        let count = u32::try_from(step.batch.outputs.len()).unwrap_or(u32::MAX);
        let mut outcome = Outcome::with_capacity(count as usize);
        for first in (0..count).step_by(SLAB_ROWS as usize) {
            let slab = first..count.min(first + SLAB_ROWS);
            if first > 0 {
                let shape = self.inputs.shape;
                run_together(&self.ranks, |rank| rank.program().head(shape, slab.clone()), 0)?;
                for rank in &mut self.ranks {
                    rank.queue_logits(step.place, slab.len())?;
                }
                if !self.wait(step.place, SLAB_TIME)? {
                    let why = format!("logits were not made within {SLAB_TIME:?}");
                    return Err(DeviceError::Lost { why });
                }
            }
            for (at, index) in slab.enumerate() {
                self.gather(at);
                let (sampler, row) = (&mut self.sampler, &mut self.row);
                outcome.push(answer(sampler, &step.batch, index as usize, row));
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

    fn submit(&mut self, id: StepId, batch: &Batch) -> Result<(), DeviceError> {
        assert!(self.steps.len() < self.limits.depth as usize, "at most `depth` steps are queued");
        batch.check(&self.limits).expect("the scheduler makes legal batches");
        let mut own = self.spare.pop().unwrap_or_default();
        own.clone_from(batch);
        let mut step = Step { id, batch: own, place: 0, by: By::Nobody, asked: Vec::new() };
        if self.steps.iter().all(|before| before.by == By::Device) {
            self.queue(&mut step)?;
        }
        self.steps.push_back(step);
        Ok(())
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        let step = self.steps.front().expect("a step is queued");
        if !self.wait(step.place, timeout)? {
            return Err(DeviceError::Timeout { step: step.id, waited: timeout });
        }
        let step = self.steps.pop_front().expect("it was looked at");
        let outcome = match step.by {
            By::Device => self.read(&step),
            By::Host | By::Nobody => self.choose(&step)?,
        };
        if let Some(mut next) = self.steps.pop_front() {
            if next.by == By::Nobody {
                self.queue(&mut next)?;
            }
            self.steps.push_front(next);
        }
        self.spare.push(step.batch);
        Ok((step.id, outcome))
    }
}

impl Drop for CudaBackend {
    fn drop(&mut self) {
        // What is queued reads and writes memory of all ranks, which end one after the other.
        self.ranks.iter().for_each(Rank::settle);
    }
}
