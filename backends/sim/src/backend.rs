//! The simulated device.
//!
//! Steps are computed when they are submitted and handed out when they are collected. Next:
//! `platform.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{
    Answer, Batch, Limits, Open, Outcome, Part, RowFault, SampleParams, StepId, Token, TokenId,
    Want,
};
use gimbal_hal::{Backend, DeviceError};

use crate::cells::{Cells, Reads};
use crate::cost::Cost;
use crate::script::{Incident, Script};
use crate::tokens::{Row, injected};

/// How the device behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Tokens are `0..vocab`.
    pub vocab: u32,
    /// What a step costs.
    pub cost: Cost,
    /// Whether `collect` takes that long.
    pub time: Time,
    /// How carefully KV is read.
    pub reads: Reads,
    /// What goes wrong.
    pub script: Script,
}

/// Whose time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Nobody's: `collect` returns at once, and `newest_cost` says how long it would have taken.
    Virtual,
    /// `collect` sleeps.
    Real,
}

/// The simulated device.
#[derive(Debug)]
pub struct SimBackend {
    limits: Limits,
    config: Config,
    cells: Cells,
    slots: Vec<Option<Slot>>,
    /// Generations of the loaded adapters, by slot; the base model's is 0.
    adapters: Vec<Option<u64>>,
    queued: VecDeque<Queued>,
    newest_cost: Duration,
    lost: bool,
}

#[derive(Debug)]
struct Slot {
    /// Opened with, and sampled since.
    history: Vec<TokenId>,
    params: Arc<SampleParams>,
    /// The row that failed, until it is computed again: what its KV says does not matter.
    failed: Option<u32>,
}

#[derive(Debug)]
struct Queued {
    step: StepId,
    outcome: Outcome,
    remaining: Duration,
    lost: bool,
}

impl SimBackend {
    /// Opens the device.
    #[must_use]
    pub fn new(limits: Limits, config: Config) -> Self {
        Self {
            cells: Cells::new(limits.kv, config.reads),
            slots: (0..limits.sequences_max).map(|_| None).collect(),
            adapters: (0..=limits.adapters_max).map(|slot| (slot == 0).then_some(0)).collect(),
            queued: VecDeque::new(),
            newest_cost: Duration::ZERO,
            lost: false,
            limits,
            config,
        }
    }

    /// How long the newest submitted step takes.
    #[must_use]
    pub fn newest_cost(&self) -> Duration {
        self.newest_cost
    }

    fn check_alive(&mut self) -> Result<(), DeviceError> {
        self.lost |= self.config.script.is_killed();
        if !self.lost {
            return Ok(());
        }
        self.queued.clear();
        Err(DeviceError::Lost { why: "the script of the simulated device says so".to_owned() })
    }

    fn compute(&mut self, batch: &Batch) -> Outcome {
        for (slot, adapter) in &batch.adapters {
            self.adapters[usize::from(slot.0)] = adapter.as_ref().map(|adapter| adapter.generation);
        }
        for slot in &batch.closes {
            let was = self.slots[slot.0 as usize].take();
            assert!(was.is_some(), "slot {} is closed but was not open", slot.0);
        }
        for Open { slot, tokens, params, .. } in &batch.opens {
            let params = Arc::clone(params);
            let opened = Slot { history: tokens.to_vec(), params, failed: None };
            let was = self.slots[slot.0 as usize].replace(opened);
            assert!(was.is_none(), "slot {} is opened twice", slot.0);
        }
        let mut outcome = Outcome::with_capacity(batch.outputs.len());
        let mut first_row = 0;
        for part in &batch.parts {
            self.compute_part(batch, part, first_row, &mut outcome);
            first_row += part.rows;
        }
        assert_eq!(outcome.len(), batch.outputs.len(), "an output has one answer");
        outcome
    }

    fn compute_part(&mut self, batch: &Batch, part: &Part, first: u32, outcome: &mut Outcome) {
        let table = batch.table(part);
        let slot = self.slots[part.slot.0 as usize].as_mut();
        let slot = slot.unwrap_or_else(|| panic!("slot {} has rows but is not open", part.slot.0));
        let tokens = &batch.tokens[first as usize..(first + part.rows) as usize];
        let newest = *slot.history.last().expect("a sequence has tokens");
        let ids = tokens.iter().map(|token| match token {
            Token::Id(id) => *id,
            Token::Last => newest,
        });
        let adapter = self.adapters[usize::from(part.adapter.0)];
        let adapter = adapter.unwrap_or_else(|| panic!("{:?} is not loaded", part.adapter));
        slot.failed = slot.failed.filter(|row| !(part.start..part.start + part.rows).contains(row));
        // A guess that the sampler did not choose ends the slot's history for this step.
        let mut on_track = slot.failed.is_none();
        for (row, (id, position)) in (first..).zip(ids.zip(part.start..)) {
            let given = batch.inject.binary_search_by_key(&row, |(row, _)| *row);
            let injected = given.map_or(0, |at| injected(&batch.inject[at].1));
            self.cells.write(table, position, Row { token: id, adapter, injected });
            let from = batch.outputs.partition_point(|output| output.row < row);
            for output in batch.outputs[from..].iter().take_while(|output| output.row == row) {
                let chain = self.cells.read(table, position);
                if let Want::Sample = output.want {
                    on_track &= slot.history.get(position as usize) == Some(&id);
                    if on_track && self.config.reads == Reads::All {
                        let known = &slot.history[..=position as usize];
                        let expected = self.cells.expected(table, known, adapter);
                        assert_eq!(chain, expected, "KV is the history's");
                        assert_eq!(known.len(), slot.history.len(), "a sample is the newest token");
                    }
                }
                let answer = match &output.want {
                    Want::Sample => {
                        let mask = output.mask.as_ref();
                        chain.sample(self.config.vocab, &slot.params, mask)
                    }
                    Want::Score { ids, top } => Ok(chain.score(self.config.vocab, ids, *top)),
                    Want::Row => Ok(Answer::Row(chain.row())),
                };
                if let (true, Ok(Answer::Sample { token, .. })) = (on_track, &answer) {
                    slot.history.push(*token);
                }
                outcome.push(answer);
            }
        }
    }

    /// Makes one output fail and spoils what its row wrote.
    fn fault(&mut self, batch: &Batch, output: u32, outcome: &mut Outcome) {
        if outcome.is_empty() {
            return;
        }
        let failed = output as usize % outcome.len();
        outcome[failed] = Err(RowFault::NotFinite);
        let row = batch.outputs[failed].row;
        let mut first = 0;
        for part in &batch.parts {
            if (first..first + part.rows).contains(&row) {
                let position = part.start + row - first;
                self.cells.spoil(batch.table(part), position);
                let slot = self.slots[part.slot.0 as usize].as_mut();
                let slot = slot.expect("a slot with rows is open");
                // Nothing was sampled there; behind a wrong guess nothing would have been.
                if slot.history.len() > position as usize {
                    slot.history.truncate(position as usize + 1);
                    slot.failed = Some(position);
                }
            }
            first += part.rows;
        }
    }
}

impl Backend for SimBackend {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn submit(&mut self, step: StepId, batch: &Batch) -> Result<(), DeviceError> {
        self.check_alive()?;
        let legal = batch.check(&self.limits);
        assert!(legal.is_ok(), "step {}: {legal:?}", step.0);
        assert!(self.queued.len() < self.limits.depth as usize, "at most depth steps are queued");
        let mut outcome = self.compute(batch);
        let mut remaining = self.config.cost.of(batch, &self.limits.shape);
        let mut lost = false;
        let script = self.config.script.clone();
        for incident in script.next_step() {
            match incident {
                Incident::RowFault { output } => self.fault(batch, output, &mut outcome),
                Incident::Slow(more) => remaining += more,
                Incident::Lost => lost = true,
                Incident::LostAtSubmit => self.lost = true,
            }
        }
        self.check_alive()?;
        self.newest_cost = remaining;
        self.queued.push_back(Queued { step, outcome, remaining, lost });
        Ok(())
    }

    fn collect(&mut self, timeout: Duration) -> Result<(StepId, Outcome), DeviceError> {
        self.check_alive()?;
        let oldest = self.queued.front_mut().expect("a step is queued");
        if self.config.time == Time::Real {
            let now = oldest.remaining.min(timeout);
            std::thread::sleep(now);
            oldest.remaining -= now;
            if oldest.remaining > Duration::ZERO {
                return Err(DeviceError::Timeout { step: oldest.step, waited: timeout });
            }
        }
        self.lost |= oldest.lost;
        self.check_alive()?;
        let Queued { step, outcome, .. } = self.queued.pop_front().expect("a step is queued");
        Ok((step, outcome))
    }
}
