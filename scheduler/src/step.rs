//! A planned step: the batch that says so, and what is noted until its outcome comes.
//!
//! Next: `commit.rs`.

use std::sync::Arc;

use gimbal_batch::{Batch, Open, Output, Part, SeqSlot, StepId, TokenId, Want};

use crate::count;
use crate::request::Micros;
use crate::scheduler::{Planned, Scheduler, Step};
use crate::sequence::{Sequence, State};
use crate::spans::among;

impl Scheduler {
    /// Turns planned rows into a batch and a step in flight.
    pub(crate) fn write(&mut self, now: Micros, batch: &mut Batch) -> Option<StepId> {
        let id = StepId(self.next_step);
        let empty = Step { id, scheduled: now, prompt_rows: 0, parts: Vec::new() };
        let mut step = self.spare.pop().unwrap_or(empty);
        (step.id, step.scheduled, step.prompt_rows) = (id, now, 0);
        step.parts.clear();
        // Tables grow with every block; without sharing they never name more than all blocks.
        batch.blocks.reserve(self.limits.kv.blocks as usize);
        for key in &self.running {
            let sequence = &mut self.sequences[*key];
            if sequence.rows > 0 {
                let planned = write_part(*key, sequence, batch);
                sequence.served = id.0 + 1;
                if planned.start < count(sequence.prompt.len()) {
                    self.totals.prefill_tokens += u64::from(planned.rows);
                    step.prompt_rows += planned.rows;
                } else {
                    self.totals.decode_tokens += u64::from(planned.rows);
                }
                step.parts.push(planned);
            }
        }
        if step.parts.is_empty() {
            self.spare.push(step);
            return None;
        }
        self.totals.injected_tokens += u64::from(count(batch.inject.len()));
        batch.closes.append(&mut self.closes);
        self.adapters.write(batch);
        self.steps.push_back(step);
        self.next_step += 1;
        self.totals.steps += 1;
        Some(id)
    }
}

fn write_part(key: usize, s: &mut Sequence, batch: &mut Batch) -> Planned {
    let State::Running(slot) = s.state else { unreachable!("only running sequences have rows") };
    let rows = std::mem::take(&mut s.rows);
    let start = s.cached;
    let first_block = count(batch.blocks.len());
    batch.blocks.extend(&s.table);
    let blocks = first_block..count(batch.blocks.len());
    batch.parts.push(Part { slot, rows, start, blocks, adapter: s.adapter });
    batch.tokens.extend((start..start + rows).map(|position| s.token(position)));
    for span in among(&s.spans, start, start + rows) {
        assert!(span.start >= start && span.end() <= start + rows, "a span is not parted");
        let first = count(batch.tokens.len()) - rows + (span.start - start);
        batch.inject.extend((first..).zip(span.rows.iter().map(Arc::clone)));
    }
    let scores = write_scores(s, rows, batch);
    let drafts = count(s.drafts.len());
    let outputs = if start + rows == s.known() + s.promised + drafts { 1 + drafts } else { 0 };
    let end = count(batch.tokens.len());
    let wanted = (end - outputs..end).map(|row| Output { row, want: Want::Sample, mask: None });
    batch.outputs.extend(wanted);
    if !std::mem::replace(&mut s.opened, true) {
        batch.opens.push(open(slot, s));
    }
    s.cached += rows;
    s.promised += outputs;
    s.in_flight += 1;
    Planned { sequence: key, start, rows, scores, outputs }
}

/// Asks what the newest `rows` rows of the batch have to tell of the prompt; of how many rows.
fn write_scores(s: &Sequence, rows: u32, batch: &mut Batch) -> u32 {
    let Some(scores) = s.scores else { return 0 };
    let first_row = count(batch.tokens.len()) - rows;
    let scoring = s.scoring(s.cached, s.cached + rows);
    for position in scoring.clone() {
        let ids: Arc<[TokenId]> = Arc::from([s.prompt[position as usize + 1]]);
        let (row, want) = (first_row + position - s.cached, Want::Score { ids, top: scores.top });
        batch.outputs.push(Output { row, want, mask: None });
    }
    count(scoring.len())
}

fn open(slot: SeqSlot, s: &Sequence) -> Open {
    let tokens = match s.output.is_empty() {
        true => Arc::clone(&s.prompt),
        false => s.prompt.iter().chain(&s.output).copied().collect(),
    };
    let params = Arc::clone(&s.params);
    Open { slot, tokens, prompt: count(s.prompt.len()), params }
}
