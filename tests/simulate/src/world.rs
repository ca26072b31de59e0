//! One run: a scheduler, a simulated device and virtual time, every rule checked at every step.
//!
//! Next: `main.rs` for the commands.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gimbal_batch::{
    Adapter, AdapterSlot, Batch, BlockId, Limits, SeqSlot, StepId, TokenMask, Want,
};
use gimbal_hal::{Backend, DeviceError};
use gimbal_scheduler::{Event, Micros, RequestId, SampleEvent, Scheduler, Stats};
use gimbal_sim::{Config, Incident, Reads, Script, SimBackend, Time};

use crate::ledger::{Ledger, Past};
use crate::rng::Rng;
use crate::scenario::{Scenario, mask};

/// More rounds than any scenario needs; a run that gets here does not end.
const ROUNDS_MAX: u32 = 100_000;

/// The slot that requests with an adapter use.
const ADAPTER: AdapterSlot = AdapterSlot(1);

/// Runs a scenario to its end.
///
/// # Panics
/// If any rule is broken.
#[must_use]
pub fn run(scenario: &Scenario) -> Stats {
    let mut world = World::new(scenario);
    for _ in 0..ROUNDS_MAX {
        world.arrive();
        world.leave();
        world.free();
        world.schedule();
        world.audit();
        if !world.advance() {
            world.close();
            return world.scheduler.stats();
        }
        world.audit();
    }
    panic!("the run does not end: {:?}", world.scheduler.stats());
}

struct World<'a> {
    scenario: &'a Scenario,
    /// Of the device there is now.
    limits: Limits,
    scheduler: Scheduler,
    device: SimBackend,
    config: Config,
    ledger: Ledger,
    events: Vec<Event>,
    batch: Batch,
    past: Past,
    arrived: usize,
    left: usize,
    /// Of what adapter slot 1 holds.
    generation: u64,
    /// Choices whose masks are late, and when they come.
    late: Vec<(Micros, RequestId, u16)>,
    /// Decides how late masks are.
    rng: Rng,
    /// Steps in flight.
    flights: VecDeque<Flight>,
}

struct Flight {
    step: StepId,
    done: Micros,
    tables: Vec<(SeqSlot, Vec<BlockId>)>,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let config = Config {
            vocab: scenario.vocab,
            cost: scenario.cost,
            time: Time::Virtual,
            reads: Reads::All,
            script: Script::new(&scenario.incidents),
        };
        let is_fault = |i: &(u64, Incident)| matches!(i.1, Incident::RowFault { .. });
        // A grammar over two tokens may allow none; see `mask`.
        let faulty = scenario.incidents.iter().any(is_fault);
        Self {
            scheduler: Scheduler::new(scenario.limits.clone(), scenario.policy.clone()),
            device: SimBackend::new(scenario.limits.clone(), config.clone()),
            config,
            ledger: Ledger::default(),
            events: Vec::new(),
            batch: Batch::default(),
            past: Past { faulty, ..Past::default() },
            arrived: 0,
            left: 0,
            generation: 0,
            late: Vec::new(),
            rng: Rng::new(!scenario.seed),
            flights: VecDeque::new(),
            limits: scenario.limits.clone(),
            scenario,
        }
    }

    fn arrive(&mut self) {
        while let Some((at, request)) = self.scenario.arrivals.get(self.arrived)
            && *at <= self.past.now
        {
            self.arrived += 1;
            self.reload();
            if self.scheduler.admit(request.clone(), self.past.now).is_ok() {
                let adapter = if request.adapter == ADAPTER { self.generation } else { 0 };
                self.ledger.admitted(request, adapter, self.scenario.vocab);
                self.hold(request.id, 0);
            }
        }
    }

    /// Other weights come into the adapter's slot whenever nobody uses it.
    fn reload(&mut self) {
        let generation = self.generation + 1;
        let adapter = Adapter { generation, path: "adapter".into() };
        let loaded = self.scheduler.load_adapter(ADAPTER, Some(Arc::new(adapter)));
        assert_eq!(loaded.is_err(), self.ledger.uses_adapters(), "a used adapter stays");
        self.generation = if loaded.is_ok() { generation } else { self.generation };
    }

    fn leave(&mut self) {
        while let Some((at, id)) = self.scenario.cancels.get(self.left)
            && *at <= self.past.now
        {
            self.left += 1;
            self.ledger.cancelled(*id);
            self.scheduler.cancel(*id, &mut self.events);
            self.tell();
            assert!(!self.ledger.is_open(*id), "a cancelled request has ended");
        }
        self.scheduler.expire(self.past.now, &mut self.events);
        self.tell();
    }

    /// Tells clients what the scheduler says; masks for what follows are made meanwhile.
    fn tell(&mut self) {
        for at in 0..self.events.len() {
            if let Event::Token(SampleEvent { id, choice, .. }) = self.events[at] {
                self.hold(id, choice);
            }
        }
        self.ledger.take(&mut self.events, self.past);
    }

    /// Where masks are late, some are: for longer than a step, or not at all.
    fn hold(&mut self, id: RequestId, choice: u16) {
        if self.scenario.late && self.rng.once_in(3) {
            self.scheduler.hold(id, choice);
            let comes = self.past.now.0 + u64::from(self.rng.below(600));
            self.late.push((Micros(comes), id, choice));
        }
    }

    fn free(&mut self) {
        let now = self.past.now;
        let due: Vec<_> = self.late.extract_if(.., |late| late.0 <= now).collect();
        for (_, id, choice) in due {
            if !self.is_late(id, choice) {
                self.scheduler.free(id, choice);
            }
        }
    }

    fn is_late(&self, id: RequestId, choice: u16) -> bool {
        self.late.iter().any(|late| (late.1, late.2) == (id, choice))
    }

    fn schedule(&mut self) {
        while let Some(step) = self.scheduler.schedule(self.past.now, &mut self.batch) {
            self.write_masks();
            let legal = self.batch.check(&self.limits);
            assert!(legal.is_ok(), "{legal:?}");
            self.check_owners();
            self.check_images();
            let tables = |p: &gimbal_batch::Part| (p.slot, self.batch.table(p).to_vec());
            let tables = self.batch.parts.iter().map(tables).collect();
            let begin = self.flights.back().map_or(self.past.now, |flight| flight.done);
            if self.device.submit(step, &self.batch).is_err() {
                self.lose();
                continue;
            }
            let cost = u64::try_from(self.device.newest_cost().as_micros()).unwrap_or(u64::MAX);
            self.flights.push_back(Flight { step, done: Micros(begin.0 + cost), tables });
        }
    }

    /// A grammar that depends on the tokens its client has: wrong if any are in flight. What may come
    /// behind a guess is known now and then only.
    fn write_masks(&mut self) {
        let named: Vec<_> = self.scheduler.outputs().collect();
        assert_eq!(named.len(), self.batch.outputs.len(), "all are named");
        let (mut guessed, mut samples) = (0, None);
        for (at, (id, choice)) in named.iter().enumerate() {
            assert!(!self.is_late(*id, *choice), "{id:?} has no row before its mask");
            let output = &mut self.batch.outputs[at];
            let is_sample = output.want == Want::Sample;
            let follows = samples == Some((*id, *choice));
            guessed = if is_sample && follows { guessed + 1 } else { 0 };
            samples = is_sample.then_some((*id, *choice));
            let request = &self.scenario.arrivals.iter().find(|(_, r)| r.id == *id);
            if is_sample && request.is_some_and(|(_, r)| r.masked) {
                let generated = self.ledger.tokens_of(*id, *choice).len();
                let generated = u32::try_from(generated).expect("a short run");
                let is_known = guessed == 0 || !self.rng.once_in(4);
                let nothing =
                    || TokenMask(vec![0; self.scenario.vocab.div_ceil(32) as usize].into());
                let mask = is_known.then(|| mask(self.scenario.vocab, generated + guessed));
                output.mask = Some(mask.unwrap_or_else(nothing));
            }
        }
    }

    /// A block that is written belongs to one sequence, in this step and in those in flight.
    fn check_owners(&self) {
        let block_tokens = self.limits.kv.block_tokens;
        for part in &self.batch.parts {
            let table = self.batch.table(part);
            let written = part.start / block_tokens..=(part.start + part.rows - 1) / block_tokens;
            for at in written {
                let block = table[at as usize];
                let here = self.batch.parts.iter().map(|p| (p.slot, self.batch.table(p)));
                let flying = self.flights.iter().flat_map(|flight| &flight.tables);
                let flying = flying.map(|(slot, table)| (*slot, table.as_slice()));
                for (slot, other) in here.chain(flying) {
                    let shared = slot != part.slot && other.contains(&block);
                    assert!(
                        !shared,
                        "{block:?} is written by {:?} and held by {slot:?}",
                        part.slot
                    );
                }
            }
        }
    }

    /// An image is injected row by row in one part, from its first to its last.
    fn check_images(&self) {
        let mut end = 0;
        for part in &self.batch.parts {
            let rows = end..end + part.rows;
            end = rows.end;
            let given = self.batch.inject.iter().filter(|(row, _)| rows.contains(row));
            let given: Vec<_> =
                given.map(|(row, numbers)| (*row, numbers[1], numbers[2])).collect();
            let mut left = given.as_slice();
            while let Some((first, at, count)) = left.first() {
                assert!(*at == 0.0, "an image begins with its first row");
                let next: Vec<_> = (*first..).zip(0..).take(left.len()).collect();
                let is_next = |((row, at, _), (r, a)): &(&(u32, f32, f32), (u32, u16))| {
                    row == r && *at == f32::from(*a)
                };
                let run = left.iter().zip(next).take_while(is_next).count();
                assert!(run as f64 == f64::from(*count), "an image is not parted");
                left = &left[run..];
            }
        }
    }

    /// To the next moment at which something happens; false when nothing will.
    fn advance(&mut self) -> bool {
        let arrival = self.scenario.arrivals.get(self.arrived).map(|(at, _)| *at);
        let done = self.flights.front().map(|flight| flight.done);
        let free = self.late.iter().map(|late| late.0).min();
        let deadline = self.scheduler.deadline();
        let Some(next) = [arrival, done, free].into_iter().flatten().min() else {
            return false;
        };
        let next = deadline.map_or(next, |at| at.min(next));
        self.past.now = self.past.now.max(next);
        if done.is_some_and(|at| at <= self.past.now) {
            self.collect();
        }
        true
    }

    fn collect(&mut self) {
        match self.device.collect(Duration::ZERO) {
            Ok((step, outcome)) => {
                let flight = self.flights.pop_front().expect("a step is in flight");
                assert_eq!(flight.step, step, "steps come back in order");
                self.scheduler.commit(step, outcome, self.past.now, &mut self.events);
                self.tell();
            }
            Err(DeviceError::Lost { .. }) => self.lose(),
            Err(error) => panic!("the simulated device fails only by script: {error}"),
        }
    }

    fn lose(&mut self) {
        self.past.losses += 1;
        self.flights.clear();
        self.scheduler.lost(self.past.now, &mut self.events);
        self.tell();
        if !self.scenario.comes_back.is_empty() {
            self.limits = self.rng.choose(&self.scenario.comes_back).clone();
            self.past.now.0 += u64::from(self.rng.below(300));
            self.scheduler.relimit(&self.limits, self.past.now, &mut self.events);
            self.past.model_len_max = Some(self.scheduler.model_len_max());
            self.tell();
            self.ledger.check_lengths(self.scheduler.model_len_max());
        }
        self.device = SimBackend::new(self.limits.clone(), self.config.clone());
    }

    fn audit(&self) {
        self.scheduler.audit();
        let stats = self.scheduler.stats();
        let blocks = stats.blocks_used + stats.blocks_cached + stats.blocks_free;
        assert_eq!(blocks, self.limits.kv.blocks, "blocks are conserved");
        assert!(
            stats.running <= self.scenario.policy.max_rolling_batch_size,
            "the batch is bounded"
        );
        let in_flight = u32::try_from(self.flights.len()).expect("a short list");
        assert_eq!(stats.in_flight, in_flight, "steps are counted");
    }

    fn close(&self) {
        self.ledger.close();
        assert!(self.scheduler.is_idle(), "an idle scheduler says so");
        let stats = self.scheduler.stats();
        assert_eq!((stats.blocks_used, stats.slots_used), (0, 0), "all is given back");
        assert_eq!((stats.waiting, stats.running), (0, 0), "nobody is left");
    }
}
