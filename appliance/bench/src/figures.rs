//! What one run was like, from its records alone.
//!
//! Every figure is defined here and in `docs/bench.md`, in the same words. Next: `metrics.rs`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::client::FaultKind;
use crate::ping::Pings;
use crate::plan::Limits;
use crate::record::{Counted, Record};
use crate::stats::Spread;

/// The figures of one run. A request counts where it succeeded, unless it says otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Requests that had the whole answer.
    pub succeeded: u32,
    /// All others.
    pub failed: u32,
    /// How many failed, by kind.
    pub errors: BTreeMap<String, u32>,
    /// The first message of each kind.
    pub error_examples: BTreeMap<String, String>,
    /// From the first sending to the last answer's end, failed requests included.
    pub wall_s: f64,
    /// Succeeded requests over the wall time.
    pub requests_per_s: f64,
    /// Output tokens over the wall time.
    pub output_tokens_per_s: f64,
    /// Tokens of prompts by the server's count, where it gave one for each.
    pub prompt_tokens: Option<u64>,
    /// Tokens the prompts were made for.
    pub prompt_tokens_asked: u64,
    /// Prompt tokens the server had in a cache, where it says so.
    pub cached_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: u64,
    /// Who counted them; `pieces` where the client did for one request.
    pub output_counted: Counted,
    /// Requests with fewer output tokens than asked for.
    pub short: u32,
    /// Time to the first token.
    pub ttft_ms: Option<Spread>,
    /// Time between two pieces with tokens, over all pairs of all requests.
    pub itl_ms: Option<Spread>,
    /// Mean time between tokens of a request, over requests.
    pub tpot_ms: Option<Spread>,
    /// From sending to the end.
    pub e2e_ms: Option<Spread>,
    /// How late an open loop's requests were sent: the client's own delay.
    pub lag_ms: Option<Spread>,
    /// Requests that kept the limits; absent without limits.
    pub good: Option<u32>,
    /// They over the wall time.
    pub goodput_per_s: Option<f64>,
    /// Answers to the ping meanwhile.
    pub ping: Option<PingFigures>,
}

/// How a server said that it was well.
#[derive(Clone, Debug, Serialize)]
pub struct PingFigures {
    /// Answers with status 200.
    pub succeeded: u32,
    /// Others, and none.
    pub failed: u32,
    /// From asking to the whole answer.
    pub ms: Option<Spread>,
}

impl Figures {
    /// The figures of a run.
    pub(crate) fn of(records: &[Record], limits: Limits, pings: Option<Pings>) -> Self {
        let good: Vec<&Record> = records.iter().filter(|r| r.error.is_none()).collect();
        let (errors, error_examples) = errors(records);
        let wall_s = wall_s(records);
        let per_s = |count: f64| if wall_s > 0.0 { count / wall_s } else { 0.0 };
        let output_tokens = good.iter().map(|r| u64::from(r.output_tokens)).sum();
        let is_limited = limits.ttft_ms.is_some() || limits.itl_ms.is_some();
        let kept = is_limited.then(|| count(good.iter().filter(|r| keeps(r, limits))));
        let lag = |r: &Record| Some(millis(r.sent_us.saturating_sub(r.due_us?)));
        let sum = |of: fn(&Record) -> Option<u32>| -> Option<u64> {
            good.iter().map(|r| of(r).map(u64::from)).sum()
        };
        Self {
            succeeded: count(&good),
            failed: count(records) - count(&good),
            errors,
            error_examples,
            wall_s,
            requests_per_s: per_s(good.len() as f64),
            output_tokens_per_s: per_s(output_tokens as f64),
            prompt_tokens: sum(|r| r.prompt_tokens),
            prompt_tokens_asked: good.iter().map(|r| u64::from(r.prompt_tokens_asked)).sum(),
            cached_tokens: sum(|r| r.cached_tokens),
            output_tokens,
            output_counted: good.iter().map(|r| r.output_counted).max().unwrap_or(Counted::Pieces),
            short: count(good.iter().filter(|r| r.output_tokens < r.output_tokens_asked)),
            ttft_ms: Spread::of(good.iter().filter_map(|r| r.ttft_us.map(millis)).collect()),
            itl_ms: Spread::of(good.iter().flat_map(|r| &r.itl_us).map(|us| millis(*us)).collect()),
            tpot_ms: Spread::of(good.iter().filter_map(|r| r.tpot_ms()).collect()),
            e2e_ms: Spread::of(good.iter().map(|r| millis(r.e2e_us)).collect()),
            lag_ms: Spread::of(records.iter().filter_map(lag).collect()),
            good: kept,
            goodput_per_s: kept.map(|n| per_s(f64::from(n))),
            ping: pings.map(|pings| PingFigures {
                succeeded: count(&pings.ms),
                failed: pings.failed,
                ms: Spread::of(pings.ms),
            }),
        }
    }
}

fn count<T>(items: impl IntoIterator<Item = T>) -> u32 {
    u32::try_from(items.into_iter().count()).unwrap_or(u32::MAX)
}

fn millis(us: u64) -> f64 {
    us as f64 / 1e3
}

fn wall_s(records: &[Record]) -> f64 {
    let was_sent = |r: &&Record| {
        let kind = FaultKind::NotSent.to_string();
        r.error.as_ref().is_none_or(|error| error.kind != kind)
    };
    let sent = || records.iter().filter(was_sent);
    let first = sent().map(|r| r.sent_us).min().unwrap_or(0);
    let last = sent().map(|r| r.sent_us.saturating_add(r.e2e_us)).max().unwrap_or(0);
    (last - first) as f64 / 1e6
}

/// One token has no time between tokens and keeps that limit.
fn keeps(record: &Record, limits: Limits) -> bool {
    let within = |value: Option<f64>, limit: Option<f64>| match (value, limit) {
        (Some(value), Some(limit)) => value <= limit,
        _ => true,
    };
    within(record.ttft_us.map(millis), limits.ttft_ms) && within(record.tpot_ms(), limits.itl_ms)
}

fn errors(records: &[Record]) -> (BTreeMap<String, u32>, BTreeMap<String, String>) {
    let (mut errors, mut examples) = (BTreeMap::new(), BTreeMap::new());
    for error in records.iter().filter_map(|r| r.error.as_ref()) {
        *errors.entry(error.kind.clone()).or_insert(0) += 1;
        examples.entry(error.kind.clone()).or_insert_with(|| error.message.clone());
    }
    (errors, examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RequestError;

    fn record(index: u32, sent_us: u64, gaps: &[u64]) -> Record {
        let ttft_us = 10_000 * u64::from(index + 1);
        Record {
            index,
            due_us: None,
            sent_us,
            prompt_tokens_asked: 8,
            output_tokens_asked: 3,
            prompt_tokens: Some(9),
            cached_tokens: None,
            output_tokens: u32::try_from(gaps.len()).unwrap_or(0) + 1,
            output_counted: Counted::Server,
            ttft_us: Some(ttft_us),
            itl_us: gaps.to_vec(),
            e2e_us: ttft_us + gaps.iter().sum::<u64>(),
            error: None,
        }
    }

    fn failed(kind: &str, sent_us: u64) -> Record {
        let error = RequestError { kind: kind.to_owned(), message: format!("{kind} at {sent_us}") };
        Record { error: Some(error), ..record(7, sent_us, &[900_000]) }
    }

    fn close(found: Option<f64>, expect: f64) {
        assert!(found.is_some_and(|f| (f - expect).abs() < 1e-9), "{found:?}, not {expect}");
    }

    #[test]
    fn figures_are_of_those_that_succeeded_over_the_time_of_all() {
        let records = [
            record(0, 500_000, &[2_000, 4_000]),
            record(1, 600_000, &[6_000]),
            failed("429", 700_000),
            failed("429", 800_000),
            failed("cut", 1_520_000),
        ];
        let f = Figures::of(&records, Limits::default(), None);
        assert_eq!((f.succeeded, f.failed, f.output_tokens, f.short), (2, 3, 5, 1));
        assert_eq!(f.errors, BTreeMap::from([("429".to_owned(), 2), ("cut".to_owned(), 1)]));
        assert_eq!(f.error_examples["429"], "429 at 700000");
        // From 0.5 s to 1.52 + 0.08 + 0.9 s.
        close(Some(f.wall_s), 2.0);
        close(Some(f.requests_per_s), 1.0);
        close(Some(f.output_tokens_per_s), 2.5);
        assert_eq!((f.prompt_tokens, f.prompt_tokens_asked, f.cached_tokens), (Some(18), 16, None));
        close(f.ttft_ms.map(|s| s.mean), 15.0);
        close(f.itl_ms.map(|s| s.p50), 4.0);
        close(f.tpot_ms.map(|s| s.max), 6.0);
        close(f.e2e_ms.map(|s| s.max), 26.0);
        assert!(f.good.is_none() && f.lag_ms.is_none() && f.ping.is_none());
    }

    #[test]
    fn goodput_counts_who_kept_both_limits() {
        let records = [
            record(0, 0, &[2_000, 4_000]),
            record(1, 0, &[6_000]),
            record(2, 0, &[]),
            failed("cut", 0),
        ];
        let good = |ttft_ms, itl_ms| Figures::of(&records, Limits { ttft_ms, itl_ms }, None).good;
        assert_eq!(good(None, None), None);
        assert_eq!(good(Some(20.0), None), Some(2));
        assert_eq!(good(None, Some(3.0)), Some(2));
        assert_eq!(good(Some(20.0), Some(3.0)), Some(1));
    }

    #[test]
    fn nothing_is_not_divided_by() {
        let f = Figures::of(&[failed("not sent", 5)], Limits::default(), None);
        assert!(f.wall_s.abs() < 1e-12 && f.requests_per_s.abs() < 1e-12);
        assert_eq!((f.succeeded, f.failed, f.ttft_ms), (0, 1, None));
    }
}
