//! The load of one run: a closed loop of clients, or requests at their times.
//!
//! Clients share nothing but the number of the next request. Texts are made before the clock of
//! their request starts. Next: `attempt.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::arrivals::Arrivals;
use crate::attempt::{Route, attempt, micros};
use crate::client::FaultKind;
use crate::plan::{Load, Span};
use crate::record::{Counted, Record, RequestError};
use crate::script::{Ask, Script};

/// Requests of an open loop that may be under way; one more is a record of its own kind, not a
/// socket. A server this far behind is measured well enough.
const IN_FLIGHT_MAX: usize = 4_096;

/// A client of a closed loop waits this long after a failure: a server that refuses at once is
/// not to be asked a million times a minute.
const PENALTY: Duration = Duration::from_millis(100);

/// Makes all requests of a run; `finished` counts along.
pub(crate) async fn run(
    route: &Route,
    script: &Arc<Script>,
    load: &Load,
    span: Span,
    finished: &Arc<AtomicU32>,
) -> Vec<Record> {
    let requests = load.requests(span);
    let arrivals = match load {
        Load::Closed(clients) => {
            let crowd = Crowd { clients: *clients, requests, span };
            return closed(route, script, crowd, finished).await;
        }
        Load::Poisson(rate) => Arrivals::poisson(*rate, script.arrivals()),
        Load::Trace(trace) => Arrivals::trace(trace.clone()),
    };
    let until = match span {
        Span::Duration(duration) => duration,
        Span::Default | Span::Requests(_) => Duration::MAX,
    };
    let dues = (0..requests).zip(arrivals).take_while(|(_, due)| *due < until);
    open(route, script, dues, finished).await
}

/// Requests before a run, which nobody counts.
pub(crate) async fn warm(route: &Route, script: &Arc<Script>, load: &Load, requests: u32) {
    if requests == 0 {
        return;
    }
    let clients = if let Load::Closed(clients) = load { *clients } else { 4 };
    let crowd = Crowd { clients, requests, span: Span::Requests(requests) };
    drop(closed(route, script, crowd, &Arc::default()).await);
}

/// A closed loop.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    clients: u32,
    requests: u32,
    span: Span,
}

async fn closed(
    route: &Route,
    script: &Arc<Script>,
    crowd: Crowd,
    finished: &Arc<AtomicU32>,
) -> Vec<Record> {
    let next = Arc::new(AtomicU32::new(0));
    let mut clients = JoinSet::new();
    let epoch = Instant::now();
    for _ in 0..crowd.clients.min(crowd.requests) {
        let (route, script) = (route.clone(), Arc::clone(script));
        let (next, finished) = (Arc::clone(&next), Arc::clone(finished));
        clients.spawn(async move {
            let mut records = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let is_late = matches!(crowd.span, Span::Duration(d) if epoch.elapsed() >= d);
                if index >= crowd.requests || is_late {
                    return records;
                }
                let ask = script.ask(index, None);
                let record = attempt(&route, &ask, epoch).await;
                finished.fetch_add(1, Ordering::Relaxed);
                let is_failed = record.error.is_some();
                records.push(record);
                if is_failed {
                    tokio::time::sleep(PENALTY).await;
                }
            }
        });
    }
    let mut records: Vec<Record> = clients.join_all().await.into_iter().flatten().collect();
    records.sort_by_key(|record| record.index);
    records
}

async fn open(
    route: &Route,
    script: &Arc<Script>,
    dues: impl Iterator<Item = (u32, Duration)>,
    finished: &Arc<AtomicU32>,
) -> Vec<Record> {
    let mut running = JoinSet::new();
    let mut records = Vec::new();
    let epoch = Instant::now();
    for (index, due) in dues {
        let ask = script.ask(index, Some(due));
        tokio::time::sleep_until((epoch + due).into()).await;
        while let Some(Ok(record)) = running.try_join_next() {
            records.push(record);
        }
        if running.len() >= IN_FLIGHT_MAX {
            records.push(not_sent(&ask, epoch.elapsed()));
            continue;
        }
        let (route, finished) = (route.clone(), Arc::clone(finished));
        running.spawn(async move {
            let record = attempt(&route, &ask, epoch).await;
            finished.fetch_add(1, Ordering::Relaxed);
            record
        });
    }
    records.extend(running.join_all().await);
    records.sort_by_key(|record| record.index);
    records
}

fn not_sent(ask: &Ask, now: Duration) -> Record {
    Record {
        index: ask.index,
        due_us: ask.due.map(micros),
        sent_us: micros(now),
        prompt_tokens_asked: ask.prompt_tokens,
        output_tokens_asked: ask.output_tokens,
        prompt_tokens: None,
        cached_tokens: None,
        output_tokens: 0,
        output_counted: Counted::Pieces,
        ttft_us: None,
        itl_us: Vec::new(),
        e2e_us: 0,
        error: Some(RequestError {
            kind: FaultKind::NotSent.to_string(),
            message: format!("{IN_FLIGHT_MAX} requests were under way"),
        }),
    }
}
