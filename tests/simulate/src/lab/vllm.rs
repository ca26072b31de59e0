//! A model of vLLM's scheduling rule, for comparison. It is a model, not vLLM.
//!
//! The rule of `vllm/v1/core/sched/scheduler.py` and `kv_cache_manager.py` (V1, read 2026-11):
//! running requests first and in order, each as many tokens as the budget leaves; blocks are taken
//! chunk by chunk; when none is left the youngest is preempted and nobody starts in that step;
//! otherwise waiting ones start, first come first served, while budget, seats and blocks last.
//! Prefix blocks are published when they are scheduled. The budget is the server's default of
//! `vllm/engine/arg_utils.py` (`get_batch_defaults`): 8,192 on an H100, 2,048 elsewhere. Seats are
//! the device's, as for every policy. On compiled shapes one prompt alone goes before all decode
//! rows, as vLLM's Neuron workers do it. Next: `run.rs`.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use gimbal_batch::{AdapterSlot, Batch, Output, Part, SeqSlot, Shape, Token, TokenId, Want};
use gimbal_scheduler::{
    Drafts, Event, Finish, Micros, Refusal, Request, RequestId, SampleEvent, Stats,
};

use super::device::Device;
use super::planner::Planner;

/// The model.
pub(super) struct VllmModel {
    block_tokens: u32,
    budget: u32,
    seats: usize,
    /// Rows of the longest bucket and its context; prompts are then computed one by one.
    buckets: Option<u32>,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    pool: Pool,
    news: Vec<Event>,
    stats: Stats,
}

struct Sequence {
    id: RequestId,
    arrived: Micros,
    prompt: Arc<[TokenId]>,
    output: Vec<TokenId>,
    output_max: u32,
    computed: u32,
    scheduled: u32,
    table: Vec<usize>,
    names: Vec<u64>,
    started: bool,
}

impl Sequence {
    fn len(&self) -> u32 {
        small(self.prompt.len() + self.output.len())
    }

    fn name_blocks(&mut self, tokens: u32, block_tokens: u32) {
        let size = block_tokens as usize;
        while (self.names.len() + 1) * size <= tokens as usize {
            let first = self.names.len() * size;
            let parent = self.names.last().copied().unwrap_or(0x51_7c_c1);
            let all = self.prompt.iter().chain(&self.output);
            let fold =
                |h: u64, t: &TokenId| (h.rotate_left(5) ^ u64::from(t.get())).wrapping_mul(MIX);
            self.names.push(all.skip(first).take(size).fold(parent, fold));
        }
    }
}

/// An odd number with well spread bits (the golden ratio); collisions only blur a simulation.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

impl VllmModel {
    pub(super) fn new(device: &Device, step_tokens: Option<u32>) -> Self {
        let usual = if device.name == "h100" { 8192 } else { 2048 };
        let limits = &device.limits;
        let (budget, buckets) = match &limits.shape {
            Shape::Varlen { rows_max } => (step_tokens.unwrap_or(usual).min(*rows_max), None),
            Shape::Buckets(buckets) => {
                (u32::MAX, buckets.iter().map(|bucket| bucket.rows_each).max())
            }
        };
        Self {
            block_tokens: limits.kv.block_tokens,
            budget,
            seats: limits.sequences_max as usize,
            buckets,
            waiting: VecDeque::new(),
            running: Vec::new(),
            pool: Pool::new(limits.kv.blocks as usize),
            news: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Takes the blocks for `rows` more tokens and publishes those that will be full.
    fn allocate(&mut self, at: usize, rows: u32) -> bool {
        let sequence = &mut self.running[at];
        let end = sequence.computed + rows;
        let need = end.div_ceil(self.block_tokens) as usize;
        if need.saturating_sub(sequence.table.len()) > self.pool.free.len() {
            return false;
        }
        while sequence.table.len() < need {
            sequence.table.push(self.pool.take());
        }
        sequence.scheduled = rows;
        sequence.name_blocks(end, self.block_tokens);
        for (block, name) in sequence.table.iter().zip(&sequence.names) {
            self.pool.publish(*block, *name);
        }
        true
    }

    fn run_on(&mut self, budget: &mut u32) -> bool {
        let (mut at, mut calm) = (0, true);
        while at < self.running.len() && *budget > 0 {
            let sequence = &self.running[at];
            let rows = (sequence.len() - sequence.computed).min(*budget);
            if self.allocate(at, rows) {
                *budget -= rows;
                at += 1;
                continue;
            }
            calm = false;
            let mut victim = self.running.pop().expect("somebody runs");
            self.pool.release(&mut victim.table);
            victim.computed = 0;
            self.stats.preemptions += 1;
            self.waiting.push_front(victim);
        }
        calm
    }

    /// Lets the first of the queue run; false when it cannot.
    fn start(&mut self, budget: &mut u32, now: Micros) -> bool {
        let Some(sequence) = self.waiting.front_mut() else { return false };
        if self.running.len() >= self.seats || *budget == 0 {
            return false;
        }
        sequence.name_blocks(sequence.len() - 1, self.block_tokens);
        let hits = self.pool.hits(&sequence.names, sequence.len() - 1, self.block_tokens);
        let computed = small(hits.len()) * self.block_tokens;
        let rows = (sequence.len() - computed).min(*budget);
        let idle = hits.iter().filter(|block| self.pool.refs[**block] == 0).count();
        let need = (computed + rows).div_ceil(self.block_tokens) as usize - hits.len();
        if need + idle > self.pool.free.len() {
            return false;
        }
        let mut sequence = self.waiting.pop_front().expect("it was seen");
        hits.iter().for_each(|block| self.pool.share(*block));
        sequence.table = hits;
        sequence.computed = computed;
        self.stats.prefix_hit_tokens += u64::from(computed);
        if !std::mem::replace(&mut sequence.started, true) {
            let waited = Micros(now.0 - sequence.arrived.0);
            let (id, cached_tokens) = (sequence.id, computed);
            self.news.push(Event::Started { id, cached_tokens, waited });
        }
        self.running.push(sequence);
        assert!(self.allocate(self.running.len() - 1, rows), "the blocks were counted");
        *budget -= rows;
        true
    }

    /// Compiled shapes: one prompt alone, else all decode rows.
    fn plan_buckets(&mut self, rows_each: u32, now: Micros) {
        let prompt = |s: &Sequence| s.len() - s.computed > 1;
        if let Some(at) = self.running.iter().position(prompt) {
            let rows = (self.running[at].len() - self.running[at].computed).min(rows_each);
            assert!(self.allocate(at, rows), "a slot holds the whole context");
        } else if !self.start(&mut rows_each.clone(), now) {
            for at in 0..self.running.len() {
                assert!(self.allocate(at, 1), "a slot holds the whole context");
            }
        }
    }

    fn write(&mut self, batch: &mut Batch) {
        batch.clear();
        for (slot, s) in (0..).map(SeqSlot).zip(&self.running).filter(|(_, s)| s.scheduled > 0) {
            let (rows, start, adapter) = (s.scheduled, s.computed, AdapterSlot(0));
            batch.parts.push(Part { slot, rows, start, blocks: 0..0, adapter });
            batch.tokens.extend((0..rows).map(|_| Token::Id(TokenId::new(0))));
            if start + rows == s.len() {
                let row = small(batch.tokens.len()) - 1;
                batch.outputs.push(Output { row, want: Want::Sample, mask: None });
            }
            let total = match start < small(s.prompt.len()) {
                true => &mut self.stats.prefill_tokens,
                false => &mut self.stats.decode_tokens,
            };
            *total += u64::from(rows);
        }
    }
}

impl Planner for VllmModel {
    fn admit(&mut self, request: Request, now: Micros) -> Result<(), Refusal> {
        self.waiting.push_back(Sequence {
            id: request.id,
            arrived: now,
            prompt: request.tokens,
            output: Vec::new(),
            output_max: request.max_new_tokens,
            computed: 0,
            scheduled: 0,
            table: Vec::new(),
            names: Vec::new(),
            started: false,
        });
        Ok(())
    }

    fn schedule(&mut self, now: Micros, batch: &mut Batch) -> bool {
        if let Some(rows_each) = self.buckets {
            self.plan_buckets(rows_each, now);
        } else {
            let mut budget = self.budget;
            if self.run_on(&mut budget) {
                while self.start(&mut budget, now) {}
            }
        }
        self.write(batch);
        !batch.parts.is_empty()
    }

    fn commit(&mut self, token: TokenId, _now: Micros, events: &mut Vec<Event>) {
        events.append(&mut self.news);
        for sequence in &mut self.running {
            if sequence.scheduled == 0 {
                continue;
            }
            sequence.computed += std::mem::take(&mut sequence.scheduled);
            if sequence.computed == sequence.len() {
                sequence.output.push(token);
                self.stats.output_tokens += 1;
                let (id, top) = (sequence.id, Vec::new());
                let sample = SampleEvent {
                    id,
                    choice: 0,
                    token,
                    logprob: 0.0,
                    top,
                    drafts: Drafts::default(),
                };
                events.push(Event::Token(sample));
            }
            if small(sequence.output.len()) == sequence.output_max {
                let (id, choice, reason) = (sequence.id, 0, Finish::Length);
                events.push(Event::Finished { id, choice, reason });
                self.pool.release(&mut sequence.table);
            }
        }
        self.running.retain(|s| small(s.output.len()) < s.output_max);
    }

    fn stats(&self) -> Stats {
        self.stats
    }
}

/// Blocks: the free ones, empty or cached, in the order in which they are used again.
struct Pool {
    refs: Vec<u32>,
    names: Vec<Option<u64>>,
    by_name: HashMap<u64, usize>,
    free: BTreeSet<(u64, usize)>,
    freed_at: Vec<u64>,
    clock: u64,
}

impl Pool {
    fn new(blocks: usize) -> Self {
        Self {
            refs: vec![0; blocks],
            names: vec![None; blocks],
            by_name: HashMap::new(),
            free: (0..blocks).map(|block| (0, block)).collect(),
            freed_at: vec![0; blocks],
            clock: 0,
        }
    }

    fn take(&mut self) -> usize {
        let (_, block) = self.free.pop_first().expect("the blocks were counted");
        if let Some(name) = self.names[block].take() {
            self.by_name.remove(&name);
        }
        self.refs[block] = 1;
        block
    }

    fn share(&mut self, block: usize) {
        if self.refs[block] == 0 {
            self.free.remove(&(self.freed_at[block], block));
        }
        self.refs[block] += 1;
    }

    fn publish(&mut self, block: usize, name: u64) {
        if self.names[block].is_none() && !self.by_name.contains_key(&name) {
            self.names[block] = Some(name);
            self.by_name.insert(name, block);
        }
    }

    fn hits(&self, names: &[u64], tokens: u32, block_tokens: u32) -> Vec<usize> {
        let full = names.iter().take((tokens / block_tokens) as usize);
        full.map_while(|name| self.by_name.get(name).copied()).collect()
    }

    /// Gives blocks back, the last one first.
    fn release(&mut self, table: &mut Vec<usize>) {
        while let Some(block) = table.pop() {
            self.refs[block] -= 1;
            if self.refs[block] == 0 {
                self.clock += 1;
                self.freed_at[block] = self.clock;
                self.free.insert((self.clock, block));
            }
        }
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).expect("counts of a simulation fit 32 bits")
}
