//! A run of the laboratory: arrivals, lanes and steps in virtual time.
//!
//! Next: `meter.rs`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gimbal_batch::{Batch, TokenId};
use gimbal_scheduler::{Event, Micros, Request, RequestId, Stats};

use super::Failure;
use super::meter::{Client, Meter, Report};
use super::options::Options;
use super::planner::{Planner, PolicyName};
use super::trace::{Visit, visits};

/// Tokens that decide which lane a prompt prefers.
const AFFINITY_TOKENS: usize = 256;

/// A lane is preferred until it has so many more requests than the emptiest one.
const AFFINITY_LEAD: usize = 8;

/// Runs one policy under one rate.
pub(super) fn run(options: &Options, policy: PolicyName, rate: f64) -> Result<Report, Failure> {
    let context = options.device.limits.context_tokens_max;
    let visits = visits(&options.trace_name, rate, options.seconds, context, options.seed)?;
    let mut lab = Lab {
        options,
        lanes: (0..options.lanes).map(|_| Lane::new(policy.planner(options))).collect(),
        queue: BTreeMap::new(),
        visits: HashMap::new(),
        clients: HashMap::new(),
        meter: Meter::default(),
        next_id: 0,
        next_token: 0,
    };
    for visit in visits {
        lab.enqueue(visit);
    }
    let end = lab.run();
    let stats = lab.lanes.iter().map(|lane| lane.planner.stats()).fold(Stats::default(), add);
    Ok(lab.meter.report(policy.text(), rate, end, stats))
}

struct Lab<'a> {
    options: &'a Options,
    lanes: Vec<Lane>,
    /// Visits to come, by time and id.
    queue: BTreeMap<(Micros, u64), Visit>,
    visits: HashMap<RequestId, Visit>,
    clients: HashMap<RequestId, Client>,
    meter: Meter,
    next_id: u64,
    next_token: u32,
}

struct Lane {
    planner: Box<dyn Planner>,
    batch: Batch,
    busy_until: Option<Micros>,
    /// Requests that have not ended.
    load: usize,
}

impl Lane {
    fn new(planner: Box<dyn Planner>) -> Self {
        Self { planner, batch: Batch::default(), busy_until: None, load: 0 }
    }
}

impl Lab<'_> {
    fn enqueue(&mut self, visit: Visit) {
        self.queue.insert((visit.at, self.next_id), visit);
        self.next_id += 1;
    }

    /// Runs until everybody has an answer; the time it took.
    fn run(&mut self) -> Micros {
        let mut now = Micros(0);
        loop {
            let arrival = self.queue.keys().next().map(|(at, _)| *at);
            let busy = self.lanes.iter().filter_map(|lane| lane.busy_until).min();
            let Some(next) = [arrival, busy].into_iter().flatten().min() else { return now };
            now = next;
            for lane in 0..self.lanes.len() {
                if self.lanes[lane].busy_until.is_some_and(|until| until <= now) {
                    self.commit(lane, now);
                }
            }
            while let Some(entry) = self.queue.first_entry()
                && entry.key().0 <= now
            {
                let ((_, id), visit) = entry.remove_entry();
                self.arrive(RequestId(id), visit, now);
            }
            for lane in &mut self.lanes {
                if lane.busy_until.is_none() && lane.planner.schedule(now, &mut lane.batch) {
                    let (cost, shape) =
                        (&self.options.device.cost, &self.options.device.limits.shape);
                    let took = cost.of(&lane.batch, shape).as_micros();
                    let took = u64::try_from(took).unwrap_or(u64::MAX);
                    lane.busy_until = Some(Micros(now.0 + took));
                    self.meter.busy_us += took;
                    self.meter.step(&lane.batch, shape);
                }
            }
        }
    }

    fn arrive(&mut self, id: RequestId, visit: Visit, now: Micros) {
        self.meter.offered += 1;
        let request = Request::new(id, Arc::clone(&visit.prompt), visit.output_tokens);
        let lane = self.dispatch(&visit.prompt);
        if self.lanes[lane].planner.admit(request, now).is_err() {
            self.meter.refused += 1;
            return;
        }
        self.lanes[lane].load += 1;
        self.clients.insert(id, Client { arrived: visit.at, ..Client::default() });
        self.visits.insert(id, visit);
    }

    /// By prefix, then by load.
    fn dispatch(&self, prompt: &[TokenId]) -> usize {
        let begin = prompt.iter().take(AFFINITY_TOKENS);
        let hash = begin.fold(0u64, |h, t| (h ^ u64::from(t.get())).wrapping_mul(0x0100_0000_01b3));
        let lanes = self.lanes.len();
        let preferred = usize::try_from(hash >> 33).unwrap_or(0) % lanes;
        let emptiest = (0..lanes).min_by_key(|lane| self.lanes[*lane].load).unwrap_or(0);
        let lead = self.lanes[preferred].load - self.lanes[emptiest].load;
        if lead < AFFINITY_LEAD { preferred } else { emptiest }
    }

    fn commit(&mut self, lane: usize, now: Micros) {
        self.next_token = (self.next_token + 1) % (1 << 24);
        let mut events = Vec::new();
        let lane = &mut self.lanes[lane];
        lane.busy_until = None;
        lane.planner.commit(TokenId::new(self.next_token), now, &mut events);
        let limits = self.options.limits;
        for event in events {
            match event {
                Event::Started { waited, .. } => self.meter.wait_us.push(waited.0),
                Event::Scores { .. } => {}
                Event::Token(sample) => {
                    let client = self.clients.get_mut(&sample.id).expect("it was admitted");
                    client.tokens.push(sample.token);
                    self.meter.token(client, now, limits);
                }
                Event::Finished { id, .. } => {
                    lane.load -= 1;
                    let mut client = self.clients.remove(&id).expect("it was admitted");
                    self.meter.finished(&mut client, limits);
                    let visit = self.visits.remove(&id).expect("it was admitted");
                    let context = self.options.device.limits.context_tokens_max;
                    if let Some(next) = visit.next(&client.tokens, now, context) {
                        self.queue.insert((next.at, self.next_id), next);
                        self.next_id += 1;
                    }
                }
            }
        }
    }
}

fn add(a: Stats, b: Stats) -> Stats {
    Stats {
        prefill_tokens: a.prefill_tokens + b.prefill_tokens,
        prefix_hit_tokens: a.prefix_hit_tokens + b.prefix_hit_tokens,
        output_tokens: a.output_tokens + b.output_tokens,
        preemptions: a.preemptions + b.preemptions,
        ..a
    }
}
