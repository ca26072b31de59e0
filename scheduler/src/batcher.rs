//! WHEN for models that do not generate: requests of some rows wait for company and run together.
//!
//! One queue, first come first served: a batch always holds the oldest request, and behind it those
//! of its kind in order, up to the first that does not fit. So nobody starves, and nobody is
//! overtaken by one of the same kind. Whoever owns the device asks for the next batch when it is
//! idle; while it computes, company gathers anyway. Time is an argument. Next: `key.rs`.

use std::collections::VecDeque;

use crate::count;
use crate::request::{Micros, Refusal, RequestId};

/// How requests are joined, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatcherPolicy {
    /// Rows of a batch, at most; at least 1.
    pub rows_max: u32,
    /// How long the oldest request waits for company on an idle device, at most.
    pub wait_max: Micros,
    /// Requests that wait, at most; at least 1.
    pub job_queue_size: u32,
}

/// A request of some rows, all computed in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsRequest {
    /// Its name; unique while it waits.
    pub id: RequestId,
    /// Rows; at least 1.
    pub rows: u32,
    /// Only requests of one kind can be joined: of equal shapes but for the rows.
    pub kind: u64,
}

/// Requests that wait for a device.
#[derive(Clone, Debug)]
pub struct Batcher {
    policy: BatcherPolicy,
    /// The oldest first.
    waiting: VecDeque<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    request: RowsRequest,
    arrived: Micros,
}

/// What would run now.
struct Joined {
    kind: u64,
    requests: u32,
    /// No company can come that would fit.
    full: bool,
    /// When the oldest has waited long enough.
    patient: Micros,
}

impl Batcher {
    /// A batcher with an empty queue.
    ///
    /// # Panics
    /// If no row or no request may be in it.
    #[must_use]
    pub fn new(policy: BatcherPolicy) -> Self {
        assert!(policy.rows_max > 0, "a batch has rows");
        assert!(policy.job_queue_size > 0, "a request can wait");
        Self { policy, waiting: VecDeque::new() }
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    /// Why it is refused; nothing was changed.
    pub fn admit(&mut self, request: RowsRequest, now: Micros) -> Result<(), Refusal> {
        let (rows, BatcherPolicy { rows_max, job_queue_size, .. }) = (request.rows, self.policy);
        if rows == 0 {
            return Err(Refusal::Invalid { what: "a request must have at least one row" });
        }
        if rows > rows_max {
            return Err(Refusal::TooManyRows { rows, rows_max });
        }
        let queue_len = self.queue_len();
        if queue_len >= job_queue_size {
            return Err(Refusal::QueueFull { queue_len, job_queue_size });
        }
        self.waiting.push_back(Waiting { request, arrived: now });
        Ok(())
    }

    /// Takes a request out of the queue; false when it does not wait any more.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        let at = self.waiting.iter().position(|waiting| waiting.request.id == id);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// Requests that wait.
    #[must_use]
    pub fn queue_len(&self) -> u32 {
        count(self.waiting.len())
    }

    /// When an idle device should ask for the next batch, if nothing comes before: in the past for
    /// one that need not wait.
    #[must_use]
    pub fn due(&self) -> Option<Micros> {
        let Joined { full, patient, .. } = self.join()?;
        Some(if full { Micros(0) } else { patient })
    }

    /// Writes the next batch into `batch`, in order of arrival, for a device that is idle; false
    /// when nobody waits, or who waits may still find company.
    pub fn next(&mut self, now: Micros, batch: &mut Vec<RequestId>) -> bool {
        batch.clear();
        let Some(Joined { kind, requests, full, patient }) = self.join() else { return false };
        if !full && now < patient {
            return false;
        }
        let mut left = requests;
        self.waiting.retain(|Waiting { request, .. }| {
            let stays = left == 0 || request.kind != kind;
            if !stays {
                left -= 1;
                batch.push(request.id);
            }
            stays
        });
        true
    }

    /// The oldest request and its company.
    fn join(&self) -> Option<Joined> {
        let BatcherPolicy { rows_max, wait_max, job_queue_size } = self.policy;
        let oldest = self.waiting.front()?;
        let kind = oldest.request.kind;
        let (mut rows, mut requests) = (0, 0);
        let mut full = self.queue_len() >= job_queue_size;
        for Waiting { request, .. } in self.waiting.iter().filter(|w| w.request.kind == kind) {
            if request.rows > rows_max - rows {
                full = true;
                break;
            }
            rows += request.rows;
            requests += 1;
        }
        full |= rows == rows_max;
        let patient = Micros(oldest.arrived.0.saturating_add(wait_max.0));
        Some(Joined { kind, requests, full, patient })
    }
}
