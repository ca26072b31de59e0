//! What a step brought: tokens, ends, and KV that others may now share.
//!
//! Next: `loss.rs`.

use gimbal_batch::{Answer, Outcome, RowFault, StepId};

use crate::count;
use crate::request::{Drafts, Event, Finish, Micros, SampleEvent, TokenScore};
use crate::scheduler::{Planned, Scheduler};
use crate::sequence::State;

type Answers = std::vec::IntoIter<Result<Answer, RowFault>>;

impl Scheduler {
    /// Takes the outcome of the oldest step in flight.
    ///
    /// # Panics
    /// If `step` is not the oldest in flight or the outcome has not one answer per output: bugs of
    /// the caller.
    pub fn commit(&mut self, step: StepId, outcome: Outcome, now: Micros, events: &mut Vec<Event>) {
        events.append(&mut self.news);
        let oldest = self.steps.pop_front().expect("a step is in flight");
        assert_eq!(oldest.id, step, "steps are committed in order");
        let outputs: u32 = oldest.parts.iter().map(Planned::answers).sum();
        assert_eq!(outcome.len(), outputs as usize, "an output has one answer");
        let took = self.pace.observe(oldest.scheduled, now);
        if oldest.prompt_rows == 0 {
            self.pace.learn(oldest.parts.iter().map(|part| part.rows).sum(), took);
        }
        let decodes = oldest.parts.iter().any(|part| part.rows == part.outputs);
        if let (Some(target), true, 1..) = (self.policy.step_time_max, decodes, oldest.prompt_rows)
        {
            self.pace.aim(oldest.prompt_rows, took, target);
        }
        let mut answers = outcome.into_iter();
        for part in &oldest.parts {
            self.settle(*part, &mut answers, events);
        }
        self.spare.push(oldest);
        let ends = std::mem::take(&mut self.ends);
        if ends > 0 {
            self.pace.observe_ends(ends, !self.waiting.is_empty(), now);
        }
    }

    fn settle(&mut self, part: Planned, answers: &mut Answers, events: &mut Vec<Event>) {
        let sequence = &mut self.sequences[part.sequence];
        sequence.in_flight -= 1;
        if let State::Zombie(_) = sequence.state {
            answers.by_ref().take(part.answers() as usize).for_each(drop);
            if sequence.in_flight == 0 {
                self.bury(part.sequence);
            }
            return;
        }
        sequence.promised -= part.outputs;
        match self.take(part, answers, events) {
            Ok(None) => self.publish(part),
            Ok(Some(reason)) => {
                self.publish(part);
                self.end(part.sequence, reason, events);
            }
            Err(fault) => self.fail(part, fault, events),
        }
    }

    /// Takes the answers of one part: what it tells of the prompt, then tokens.
    fn take(
        &mut self,
        part: Planned,
        answers: &mut Answers,
        events: &mut Vec<Event>,
    ) -> Result<Option<Finish>, RowFault> {
        let mut own = answers.by_ref().take(part.answers() as usize);
        if part.scores > 0 {
            let scored = self.take_scores(part, &mut own, events);
            if let Err(fault) = scored {
                own.for_each(drop);
                return Err(fault);
            }
        }
        if part.outputs > 0 { self.take_tokens(part, answers, events) } else { Ok(None) }
    }

    /// Takes the scores of one part; those before a fault are told.
    fn take_scores(
        &mut self,
        part: Planned,
        answers: &mut impl Iterator<Item = Result<Answer, RowFault>>,
        events: &mut Vec<Event>,
    ) -> Result<(), RowFault> {
        let sequence = &mut self.sequences[part.sequence];
        let (id, first) = (sequence.id, sequence.scored + 1);
        let mut scores = Vec::with_capacity(part.scores as usize);
        let mut fault = Ok(());
        for answer in answers.take(part.scores as usize) {
            match answer {
                Ok(Answer::Score { scores: of_one, top }) => {
                    let score = of_one.into_iter().next().expect("one token was asked");
                    scores.push(TokenScore { score, top });
                }
                Ok(_) => unreachable!("scores come before samples"),
                Err(error) => {
                    fault = Err(error);
                    break;
                }
            }
        }
        sequence.scored += count(scores.len());
        if !scores.is_empty() {
            events.push(Event::Scores { id, first, scores });
        }
        fault
    }

    /// Takes the tokens of one part: one, and one more for each right guess before it.
    fn take_tokens(
        &mut self,
        part: Planned,
        answers: &mut Answers,
        events: &mut Vec<Event>,
    ) -> Result<Option<Finish>, RowFault> {
        let sequence = &mut self.sequences[part.sequence];
        let stop_tokens = &self.jobs[sequence.job].request.stop_tokens;
        let mut left = part.outputs as usize;
        let mut end = Ok(None);
        let mut accepted = 0;
        while left > 0 {
            left -= 1;
            let (token, logprob, top) = match answers.next().expect("the answers were counted") {
                Ok(Answer::Sample { token, logprob, top }) => (token, logprob, top),
                Ok(_) => unreachable!("samples come after scores"),
                // Behind a right guess a token is only not told: it is sampled again.
                Err(_) if accepted > 0 => break,
                Err(fault) => {
                    end = Err(fault);
                    break;
                }
            };
            let draft = sequence.drafts.get(accepted).copied();
            sequence.output.push(token);
            self.totals.output_tokens += 1;
            let (id, choice) = (sequence.id, sequence.choice);
            let drafts = Drafts::default();
            events.push(Event::Token(SampleEvent { id, choice, token, logprob, top, drafts }));
            if stop_tokens.contains(&token) {
                end = Ok(Some(Finish::StopToken));
                break;
            }
            if sequence.known() == sequence.tokens_max() {
                end = Ok(Some(Finish::Length));
                break;
            }
            if draft != Some(token) {
                break;
            }
            accepted += 1;
        }
        answers.by_ref().take(left).for_each(drop);
        if !sequence.drafts.is_empty() {
            // Rows of wrong guesses hold KV of tokens that never were.
            sequence.cached = sequence.known() - 1;
            let rejected = count(sequence.drafts.len() - accepted);
            sequence.drafts.clear();
            self.totals.drafts_accepted += accepted as u64;
            if let Some(Event::Token(last)) = events.last_mut() {
                last.drafts = Drafts { accepted: count(accepted), rejected };
            }
        }
        self.look_up(part.sequence);
        end
    }

    /// Offers the blocks that this part filled for sharing, and lets siblings begin.
    fn publish(&mut self, part: Planned) {
        let sequence = &mut self.sequences[part.sequence];
        let job = &self.jobs[sequence.job];
        if job.shares {
            let computed = (part.start + part.rows).min(sequence.cached);
            sequence.name_blocks(&job.domain, computed);
            let full = (computed / job.domain.block_tokens) as usize;
            while sequence.published < full {
                let at = sequence.published;
                self.blocks.publish(sequence.table[at], sequence.keys[at]);
                sequence.published += 1;
            }
        }
        if part.outputs > 0 {
            self.spawn_siblings(part.sequence);
        }
    }

    fn spawn_siblings(&mut self, key: usize) {
        let job = self.sequences[key].job;
        while self.jobs[job].spawned < self.jobs[job].request.choices {
            self.spawn(job, self.jobs[job].spawned);
        }
    }

    /// One row failed. Its KV is not to be trusted, nor that of the rows it was computed from.
    fn fail(&mut self, part: Planned, fault: RowFault, events: &mut Vec<Event>) {
        self.totals.row_faults += 1;
        for block in &self.sequences[part.sequence].table {
            self.blocks.forget(*block);
        }
        self.spawn_siblings(part.sequence);
        self.end(part.sequence, Finish::Fault(fault), events);
    }
}
