//! The next step: who gets rows.
//!
//! Decode rows come first, then prompts that were begun, then new ones, then guesses. Blocks are
//! taken here and nowhere else. Next: `step.rs`.

use gimbal_batch::{Batch, Shape, StepId};

use crate::count;
use crate::key::Key;
use crate::request::{Event, Micros};
use crate::scheduler::{Lead, Scheduler};
use crate::sequence::{Sequence, State};
use crate::shape::{Need, Room};
use crate::spans::uncut_blocks;

/// Most tokens for which memory is set aside when a sequence starts.
const OUTPUT_RESERVE: u32 = 1 << 16;

/// Waiting sequences that are looked at for one that need not wait for another's prefix: bounds
/// the cost of a step, and a crowd with one prefix is seldom larger.
const PASS_OVER: usize = 16;

impl Scheduler {
    /// Writes the next step into `batch`, if there is one to make now.
    ///
    /// `None` means: `depth` steps are in flight, or nothing can be computed before the next
    /// commit, admission or `free`.
    pub fn schedule(&mut self, now: Micros, batch: &mut Batch) -> Option<StepId> {
        batch.clear();
        if self.steps.len() >= self.limits.depth as usize {
            return None;
        }
        self.share_seats();
        let preemptions = self.totals.preemptions;
        if !self.make_room() {
            return None;
        }
        let calm = self.totals.preemptions == preemptions;
        self.plan(now, calm);
        let id = self.write(now, batch);
        if id.is_none() {
            let stuck = self.steps.is_empty() && !self.jobs.is_empty() && self.held() == 0;
            assert!(!stuck, "a living request has rows in a step, is held, or steps are in flight");
        }
        id
    }

    /// Makes sure that every decode row finds its block. The youngest sequences give theirs up,
    /// once nothing is in flight; until then `false`.
    fn make_room(&mut self) -> bool {
        loop {
            let kv = self.limits.kv;
            let grows = |key: &&usize| {
                let s = &self.sequences[**key];
                s.is_decoding() && kv.blocks_for(s.cached + 1) > count(s.table.len())
            };
            let need = self.running.iter().filter(grows).count();
            if need <= self.blocks.available() as usize {
                return true;
            }
            if !self.steps.is_empty() {
                return false;
            }
            let youngest = *self.running.last().expect("someone needs a block");
            self.preempt(youngest);
        }
    }

    /// Back into the queue, to be computed again.
    fn preempt(&mut self, key: usize) {
        self.leave_seat(key);
        self.totals.preemptions += 1;
        self.jobs[self.sequences[key].job].preemptions += 1;
    }

    /// Back into the queue with all it has on the host.
    pub(crate) fn leave_seat(&mut self, key: usize) {
        self.release(key);
        self.running.retain(|k| *k != key);
        self.sequences[key].restart();
        self.enqueue(key);
    }

    /// Gives rows to sequences; `calm` means that new ones may start.
    fn plan(&mut self, now: Micros, calm: bool) {
        if !self.frame.turns {
            return self.plan_mixed(now, calm);
        }
        let Some(mut room) = self.room(now, calm) else { return };
        let mut granted_all = self.grant_all(Sequence::is_decoding, &mut room);
        granted_all &= self.grant_all(Sequence::is_prefilling, &mut room);
        while calm && granted_all && !room.is_full() {
            let Some(key) = self.start_next(now) else { break };
            granted_all = self.grant(key, &mut room);
        }
    }

    /// As `plan`, where a step may hold any mixture. A seat is no claim to rows: whoever finds one is
    /// seated, and prompts share what decode rows leave.
    fn plan_mixed(&mut self, now: Micros, calm: bool) {
        while calm && self.start_next(now).is_some() {}
        let lead = self.span_lead();
        let span_rows = lead.map_or(0, |(_, rows)| rows);
        let mut room = Room::varlen(self.budget().max(span_rows), self.frame.whole);
        if let Some((key, rows)) = lead {
            let granted = self.grant_more(key, rows, &mut room);
            assert!(granted, "admission has seen that every span fits a step");
        }
        self.grant_all(Sequence::is_decoding, &mut room);
        self.plan_prompts(&mut room);
        if self.policy.drafts_max > 0 {
            self.draft(&mut room);
        }
    }

    /// A prompt that stands before a span, and the span's rows: it leads every second step, for its
    /// rows are not parted and may never fit beside those of all others.
    fn span_lead(&mut self) -> Option<(usize, u32)> {
        let span = |key: &usize| {
            let sequence = &self.sequences[*key];
            let rows = sequence.span_rows().filter(|_| sequence.is_prefilling())?;
            Some((*key, rows))
        };
        let lead = match self.newest_lead {
            Lead::Decode => self.running.iter().find_map(span),
            Lead::Prefill => None,
        };
        self.newest_lead = if lead.is_some() { Lead::Prefill } else { Lead::Decode };
        lead
    }

    /// Gives rows to all of a kind that have none; false when one gets none.
    fn grant_all(&mut self, of: fn(&Sequence) -> bool, room: &mut Room) -> bool {
        let mut granted_all = true;
        for i in 0..self.running.len() {
            let key = self.running[i];
            let sequence = &self.sequences[key];
            if sequence.rows == 0 && of(sequence) {
                granted_all &= self.grant(key, room);
            }
        }
        granted_all
    }

    /// The room of a step into which not everybody fits; its lead has been granted.
    fn room(&mut self, now: Micros, calm: bool) -> Option<Room> {
        let whole = self.frame.whole;
        let lead = self.lead(now, calm)?;
        let lead_need = need(&self.sequences[lead]);
        let mut room = match &self.limits.shape {
            // A prompt longer than the budget has a step to itself.
            Shape::Varlen { .. } => Room::varlen(self.frame.rows.max(lead_need.pending), whole),
            Shape::Buckets(buckets) => {
                let decoding = self.running.iter().map(|key| &self.sequences[*key]);
                let decoding = decoding.filter(|s| s.is_decoding()).map(need);
                Room::bucket(buckets, whole, lead_need, &decoding)
            }
        };
        let granted = self.grant(lead, &mut room);
        assert!(granted, "admission has seen that every sequence fits");
        Some(room)
    }

    /// Rows of this step: as many as the policy allows, or as fit its time where somebody decodes.
    fn budget(&self) -> u32 {
        let decoding = self.running.iter().filter(|key| self.sequences[**key].is_decoding());
        let decoding = count(decoding.count());
        match self.policy.step_time_max {
            Some(_) if decoding > 0 => self.frame.rows.min(decoding + self.pace.prompt_rows()),
            _ => self.frame.rows,
        }
    }

    /// Prompts and decoding sequences lead in turn; of those, the one served longest ago.
    fn lead(&mut self, now: Micros, calm: bool) -> Option<usize> {
        let prefilling =
            |s: &Self| s.running.iter().copied().find(|key| s.sequences[*key].is_prefilling());
        let mut prefill = prefilling(self);
        if prefill.is_none() && calm {
            self.start_next(now);
            prefill = prefilling(self);
        }
        let decoding = self.running.iter().copied().filter(|k| self.sequences[*k].is_decoding());
        let decode = decoding.min_by_key(|key| self.sequences[*key].served);
        let lead = match (prefill, decode) {
            (Some(_), Some(_)) if self.newest_lead == Lead::Prefill => Lead::Decode,
            (Some(_), _) => Lead::Prefill,
            (None, _) => Lead::Decode,
        };
        self.newest_lead = lead;
        if lead == Lead::Prefill { prefill } else { decode }
    }

    /// Gives a running sequence its rows and their blocks; false when it gets none.
    fn grant(&mut self, key: usize, room: &mut Room) -> bool {
        let sequence = &mut self.sequences[key];
        let rows = room.grant(need(sequence));
        if rows == 0 {
            return false;
        }
        room.take(rows);
        sequence.rows = rows;
        self.cover(key);
        true
    }

    /// Takes the blocks that the planned rows need.
    pub(crate) fn cover(&mut self, key: usize) {
        let sequence = &mut self.sequences[key];
        let need = self.limits.kv.blocks_for(sequence.cached + sequence.rows);
        while count(sequence.table.len()) < need {
            let block = self.blocks.take().expect("there is room for every planned row");
            sequence.table.push(block);
        }
    }

    /// Lets the next of the queue run, with blocks for all its known tokens, if it can. Those
    /// whose prefix is just being computed by another one are passed over: they will share it.
    pub(crate) fn start_next(&mut self, now: Micros) -> Option<usize> {
        self.is_short = false;
        if count(self.running.len()) >= self.frame.rolling_max || self.slots_free.is_empty() {
            return None;
        }
        let (mut passed, mut count) = ([usize::MAX; PASS_OVER], 0);
        while count < PASS_OVER {
            let at = self.first_waiting(&passed[..count])?;
            let key = self.waiting[at];
            let hits = self.hits(key);
            if !self.is_being_computed(key, hits) {
                let started = self.start_if_room(at, hits, now);
                self.is_short = started.is_none();
                self.count_seats();
                return started;
            }
            passed[count] = at;
            count += 1;
        }
        None
    }

    /// True when a running sequence computes the block after the `hits` that were found.
    fn is_being_computed(&self, key: usize, hits: usize) -> bool {
        let sequence = &self.sequences[key];
        let end = count(hits + 1) * self.limits.kv.block_tokens;
        let Some(next) = sequence.keys.get(hits).filter(|_| end <= sequence.unscored()) else {
            return false;
        };
        let mut running = self.running.iter().map(|key| &self.sequences[*key]);
        running.any(|s| !s.held && s.published <= hits && s.keys.get(hits) == Some(next))
    }

    fn start_if_room(&mut self, at: usize, hits: usize, now: Micros) -> Option<usize> {
        let key = self.waiting[at];
        let sequence = &self.sequences[key];
        let need = self.limits.kv.blocks_for(sequence.known()) - count(hits);
        let idle = |at: &usize| {
            let block = self.blocks.find(sequence.keys[*at]).expect("a hit was found");
            self.blocks.is_idle(block)
        };
        let idle_hits = count((0..hits).filter(idle).count());
        // Everybody who runs can still grow by a block: a start causes no preemption at once.
        if need + idle_hits + self.growing() > self.blocks.available() {
            return None;
        }
        self.waiting.remove(at);
        self.start(key, hits, now);
        Some(key)
    }

    /// Blocks of the sequence's beginning that are in the prefix cache. The newest token is never
    /// among them: its row gives the first sample.
    fn hits(&mut self, key: usize) -> usize {
        let sequence = &mut self.sequences[key];
        let job = &self.jobs[sequence.job];
        if !job.shares {
            return 0;
        }
        let tokens = sequence.known() - 1;
        // Nor is a row that has to tell something of the prompt.
        let tokens = tokens.min(sequence.unscored());
        sequence.name_blocks(&job.domain, tokens);
        let full = (tokens / job.domain.block_tokens) as usize;
        let found = |key: &&Key| self.blocks.find(**key).is_some();
        let hits = sequence.keys[..full].iter().take_while(found).count();
        uncut_blocks(&sequence.spans, hits, job.domain.block_tokens)
    }

    /// Running sequences that will need another block.
    fn growing(&self) -> u32 {
        let grows = |key: &&usize| {
            let s = &self.sequences[**key];
            count(s.table.len()) < self.limits.kv.blocks_for(s.tokens_max() - 1)
        };
        count(self.running.iter().filter(grows).count())
    }

    fn start(&mut self, key: usize, hits: usize, now: Micros) {
        let slot = self.slots_free.pop().expect("a free slot was seen");
        let sequence = &mut self.sequences[key];
        sequence.state = State::Running(slot);
        sequence.seated = count(sequence.output.len());
        let kv = self.limits.kv;
        for at in 0..hits {
            let block = self.blocks.find(sequence.keys[at]).expect("a hit was found");
            self.blocks.share(block);
            sequence.table.push(block);
        }
        sequence.published = hits;
        sequence.cached = count(hits) * kv.block_tokens;
        let output = sequence.output_max.min(OUTPUT_RESERVE) as usize;
        sequence.output.reserve(output - sequence.output.len().min(output));
        let blocks = kv.blocks_for(sequence.known() + sequence.output_max.min(OUTPUT_RESERVE));
        sequence.table.reserve(blocks as usize - hits);
        sequence.keys.reserve(blocks as usize - sequence.keys.len().min(blocks as usize));
        while count(sequence.table.len()) < kv.blocks_for(sequence.known()) {
            sequence.table.push(self.blocks.take().expect("the blocks were counted"));
        }
        let (rank, cached_tokens) = (sequence.rank, sequence.cached);
        self.totals.prefix_hit_tokens += u64::from(cached_tokens);
        let job = &mut self.jobs[sequence.job];
        if !job.started {
            job.started = true;
            self.queued -= 1;
            self.claimed += u32::from(job.unfinished);
            let waited = Micros(now.0.saturating_sub(job.admitted.0));
            self.news.push(Event::Started { id: job.request.id, cached_tokens, waited });
        }
        let at = self.running.partition_point(|k| self.sequences[*k].rank < rank);
        self.running.insert(at, key);
    }
}

fn need(sequence: &Sequence) -> Need<'_> {
    Need { cached: sequence.cached, pending: sequence.pending(), spans: &sequence.spans }
}
