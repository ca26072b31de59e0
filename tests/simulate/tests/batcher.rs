//! Requests for tensors: who runs with whom, and when.

use std::collections::VecDeque;

use gimbal_scheduler::{Batcher, BatcherPolicy, Micros, Refusal, RequestId, RowsRequest};
use gimbal_simulate::Rng;

/// Lives of a queue and a device.
const SEEDS: u64 = 20_000;

/// Batches of at most 8 rows, 100 µs of patience, 5 who wait.
const POLICY: BatcherPolicy =
    BatcherPolicy { rows_max: 8, wait_max: Micros(100), job_queue_size: 5 };

fn request(id: u64, rows: u32, kind: u64) -> RowsRequest {
    RowsRequest { id: RequestId(id), rows, kind }
}

/// Requests as (rows, kind), all at time 0, and the batches that come of them from `now` on.
fn check(requests: &[(u32, u64)], now: u64, expect: &[&[u64]]) {
    let mut batcher = Batcher::new(POLICY);
    for (id, (rows, kind)) in (0..).zip(requests) {
        batcher.admit(request(id, *rows, *kind), Micros(0)).expect("room");
    }
    let (mut found, mut batch) = (Vec::new(), Vec::new());
    while batcher.next(Micros(now), &mut batch) {
        found.push(batch.iter().map(|id| id.0).collect::<Vec<_>>());
    }
    assert_eq!(found, expect, "{requests:?} at {now}");
    assert!(batch.is_empty());
}

#[test]
fn requests_of_one_kind_run_together_in_order() {
    check(&[(3, 0), (2, 0), (3, 0)], 0, &[&[0, 1, 2]]);
    check(&[(3, 0), (3, 0), (3, 0)], 100, &[&[0, 1], &[2]]);
    check(&[(5, 0), (4, 0), (1, 0), (1, 0)], 100, &[&[0], &[1, 2, 3]]);
    check(&[(3, 0), (3, 1), (3, 0), (2, 1)], 100, &[&[0, 2], &[1, 3]]);
    check(&[(8, 1), (8, 0), (8, 1)], 0, &[&[0], &[1], &[2]]);
}

#[test]
fn company_is_awaited_and_no_longer_than_that() {
    check(&[(3, 0)], 99, &[]);
    check(&[(3, 0)], 100, &[&[0]]);
    check(&[(8, 0)], 0, &[&[0]]);
    check(&[(5, 0), (5, 0)], 0, &[&[0]]);
    check(&[(5, 0), (5, 1)], 99, &[]);
    check(&[(1, 0), (1, 1), (1, 2), (1, 0), (1, 1)], 0, &[&[0, 3]]);
    let mut batcher = Batcher::new(POLICY);
    assert_eq!(batcher.due(), None);
    batcher.admit(request(1, 3, 0), Micros(40)).expect("room");
    assert_eq!(batcher.due(), Some(Micros(140)));
    batcher.admit(request(2, 5, 0), Micros(70)).expect("room");
    assert_eq!(batcher.due(), Some(Micros(0)), "a full batch need not wait");
    assert!(batcher.cancel(RequestId(1)));
    assert_eq!(batcher.due(), Some(Micros(170)));
}

#[test]
fn tensors_that_cannot_run_are_refused_with_numbers() {
    let mut batcher = Batcher::new(POLICY);
    let none = Refusal::Invalid { what: "a request must have at least one row" };
    assert_eq!(batcher.admit(request(1, 0, 0), Micros(0)), Err(none));
    let many = Refusal::TooManyRows { rows: 9, rows_max: 8 };
    assert_eq!(batcher.admit(request(1, 9, 0), Micros(0)), Err(many));
    for id in 0..5 {
        batcher.admit(request(id, 1, id), Micros(0)).expect("room");
    }
    let full = Refusal::QueueFull { queue_len: 5, job_queue_size: 5 };
    assert_eq!(batcher.admit(request(9, 1, 0), Micros(0)), Err(full));
    assert!(batcher.cancel(RequestId(3)));
    assert!(!batcher.cancel(RequestId(3)), "it does not wait any more");
    batcher.admit(request(9, 1, 0), Micros(0)).expect("room again");
    assert_eq!(batcher.queue_len(), 5);
}

/// A device, its queue, and what the queue should hold.
struct Life {
    rng: Rng,
    policy: BatcherPolicy,
    batcher: Batcher,
    waiting: VecDeque<(RowsRequest, Micros)>,
    now: Micros,
    /// When the device is idle again, or became so.
    idle: Micros,
    ran: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let policy = BatcherPolicy {
            rows_max: rng.within(1, 9),
            wait_max: Micros(u64::from(rng.below(40))),
            job_queue_size: rng.within(1, 6),
        };
        let (now, idle) = (Micros(0), Micros(0));
        let (batcher, waiting) = (Batcher::new(policy), VecDeque::new());
        Self { rng, policy, batcher, waiting, now, idle, ran: 0 }
    }

    fn admit(&mut self, id: u64) {
        let rows = self.rng.below(self.policy.rows_max + 2);
        let request = request(id, rows, u64::from(self.rng.below(3)));
        let legal = (1..=self.policy.rows_max).contains(&rows);
        let room = self.waiting.len() < self.policy.job_queue_size as usize;
        let admitted = self.batcher.admit(request, self.now).is_ok();
        assert_eq!(admitted, legal && room);
        if admitted {
            self.waiting.push_back((request, self.now));
        }
    }

    fn cancel(&mut self, id: u64) {
        let waits = self.waiting.iter().any(|(request, _)| request.id.0 == id);
        self.waiting.retain(|(request, _)| request.id.0 != id);
        assert_eq!(self.batcher.cancel(RequestId(id)), waits);
    }

    /// Who must run next, if anybody must run now.
    fn expected(&self) -> Vec<RequestId> {
        let Some((oldest, arrived)) = self.waiting.front() else { return Vec::new() };
        let of_kind = self.waiting.iter().filter(|(request, _)| request.kind == oldest.kind);
        let mut sum = 0;
        let fits = |(request, _): &&(RowsRequest, Micros)| {
            sum += request.rows;
            sum <= self.policy.rows_max
        };
        let joined: Vec<_> = of_kind.clone().take_while(fits).map(|(r, _)| *r).collect();
        let rows: u32 = joined.iter().map(|request| request.rows).sum();
        let closed = joined.len() < of_kind.count() || rows == self.policy.rows_max;
        let crowded = self.waiting.len() == self.policy.job_queue_size as usize;
        let waited = self.now.0 - arrived.0 >= self.policy.wait_max.0;
        let runs = closed || crowded || waited;
        joined.into_iter().filter(|_| runs).map(|request| request.id).collect()
    }

    /// Runs what is to run, if the device is idle.
    fn run(&mut self) {
        while self.now >= self.idle {
            let expected = self.expected();
            let mut batch = vec![RequestId(u64::MAX)];
            assert_eq!(self.batcher.next(self.now, &mut batch), !expected.is_empty());
            assert_eq!(batch, expected);
            if batch.is_empty() {
                return;
            }
            self.waiting.retain(|(request, _)| !batch.contains(&request.id));
            self.ran += batch.len() as u64;
            self.idle = Micros(self.now.0 + u64::from(self.rng.within(1, 60)));
        }
    }

    /// To the next thing that happens: an arrival at `at`, the device's end, or lost patience.
    fn advance(&mut self, at: Option<Micros>) {
        let due = self.batcher.due().map(|due| due.max(self.idle));
        let next = [at, due].into_iter().flatten().min().expect("something happens");
        self.now = self.now.max(next);
    }
}

#[test]
fn every_request_for_tensors_runs_once_in_order_and_in_time() {
    let seeds = std::env::var("GIMBAL_SEEDS").map_or(SEEDS, |n| n.parse().expect("a number"));
    let (mut ran, mut together) = (0, 0);
    for seed in 0..seeds {
        let mut life = Life::new(seed);
        let mut at = Micros(0);
        for id in 0..20 {
            at.0 += u64::from(life.rng.below(30));
            while life.now < at {
                life.advance(Some(at));
                life.run();
            }
            life.admit(id);
            if life.rng.once_in(4) {
                let gone = u64::from(life.rng.below(20));
                life.cancel(gone);
            }
            together += u64::from(life.batcher.queue_len() > 1);
            life.run();
        }
        while life.batcher.queue_len() > 0 {
            life.advance(None);
            life.run();
        }
        assert!(life.waiting.is_empty(), "seed {seed}");
        ran += life.ran;
    }
    assert!(ran > 8 * seeds, "most run");
    assert!(together > seeds, "company is found");
}
