//! What a bench is asked to do, checked before anything is sent.
//!
//! Next: `bench.rs`.

use std::fmt;
use std::time::Duration;

use crate::arrivals::Trace;
use crate::client::{Target, Timeouts};
use crate::error::BenchError;
use crate::lengths::Lengths;
use crate::wire::Api;

/// Clients of a closed loop: more sockets than this need another tool, and another limit of files.
const CONCURRENCY_MAX: u32 = 4_096;
/// Requests a second of an open loop.
const RATE_MAX: f64 = 10_000.0;
/// Requests of a run: their records are kept in memory.
pub(crate) const REQUESTS_MAX: u32 = 1_000_000;
/// Longest time of a run.
const DURATION_MAX: Duration = Duration::from_secs(7 * 86_400);
const REPEATS_MAX: u32 = 1_000;
const WARMUP_MAX: u32 = 100_000;
/// Tokens of a shared prefix.
const PREFIX_MAX: u32 = 1 << 20;
/// Loads of one bench.
const LOADS_MAX: usize = 64;

/// A whole bench.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One server, or two to compare.
    pub targets: Vec<Target>,
    /// The way to ask.
    pub api: Api,
    /// The model to name; without it, the first of `GET /v1/models`.
    pub model: Option<String>,
    /// The cells: each is run `repeats` times on each server.
    pub loads: Vec<Load>,
    /// When a run ends.
    pub span: Span,
    /// Requests before each run that are not counted.
    pub warmup: u32,
    /// Runs of each cell on each server.
    pub repeats: u32,
    /// Lengths of prompts.
    pub prompt: Lengths,
    /// Lengths of answers.
    pub output: Lengths,
    /// Tokens all prompts begin with, beside their own.
    pub prefix_tokens: u32,
    /// Decides everything random.
    pub seed: u64,
    /// What a good request is.
    pub limits: Limits,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Ask the server during each run whether it is well, and how fast it says so.
    pub ping: bool,
}

/// How requests come.
#[derive(Clone, Debug)]
pub enum Load {
    /// So many clients, each with one request at a time.
    Closed(u32),
    /// So many requests a second on average, whatever becomes of them.
    Poisson(f64),
    /// As they came somewhere once.
    Trace(Trace),
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// After enough requests for the load.
    Default,
    /// After so many requests.
    Requests(u32),
    /// No request is begun after this time; those under way are finished.
    Duration(Duration),
}

/// What a request must keep to be good; none is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Milliseconds to the first token.
    pub ttft_ms: Option<f64>,
    /// Mean milliseconds between tokens.
    pub itl_ms: Option<f64>,
}

impl Plan {
    /// What no single flag can know.
    ///
    /// # Errors
    /// The value out of bounds, and the bound.
    pub fn check(&self) -> Result<(), BenchError> {
        let within = |name: &str, value: u64, low: u64, high: u64| {
            let why = || format!("{name} is from {low} to {high}, not {value}");
            if (low..=high).contains(&value) { Ok(()) } else { Err(BenchError::Usage(why())) }
        };
        within("the count of servers", self.targets.len() as u64, 1, 2)?;
        within("the count of loads", self.loads.len() as u64, 1, LOADS_MAX as u64)?;
        within("repeats", self.repeats.into(), 1, REPEATS_MAX.into())?;
        within("warmup", self.warmup.into(), 0, WARMUP_MAX.into())?;
        within("the shared prefix", self.prefix_tokens.into(), 0, PREFIX_MAX.into())?;
        match self.span {
            Span::Default => Ok(()),
            Span::Requests(n) => within("requests", n.into(), 1, REQUESTS_MAX.into()),
            Span::Duration(d) => {
                within("the duration in s", d.as_secs(), 1, DURATION_MAX.as_secs())
            }
        }
    }
}

impl Load {
    /// `1,8,32`: a closed loop for each.
    ///
    /// # Errors
    /// What is wrong with the text, and what would be right.
    pub fn concurrencies(text: &str) -> Result<Vec<Self>, String> {
        let one = |part: &str| {
            let clients = part.trim().parse().ok();
            let clients = clients.filter(|n| (1..=CONCURRENCY_MAX).contains(n));
            clients.map(Self::Closed).ok_or_else(|| {
                format!(
                    "{part:?} is no count of clients from 1 to {CONCURRENCY_MAX}; \
                         write them as 1,8,32"
                )
            })
        };
        text.split(',').map(one).collect()
    }

    /// `0.5,2,5`: an open loop for each.
    ///
    /// # Errors
    /// What is wrong with the text, and what would be right.
    pub fn rates(text: &str) -> Result<Vec<Self>, String> {
        let one = |part: &str| {
            let rate = part.trim().parse().ok();
            let rate = rate.filter(|rate| *rate > 0.0 && *rate <= RATE_MAX);
            rate.map(Self::Poisson).ok_or_else(|| {
                format!(
                    "{part:?} is no rate above 0 and up to {RATE_MAX} requests a second; \
                         write them as 0.5,2,5"
                )
            })
        };
        text.split(',').map(one).collect()
    }

    /// Requests of a run, where they end it.
    pub(crate) fn requests(&self, span: Span) -> u32 {
        let whole = match self {
            // Eight rounds, so that the first and the last, in which not all clients are busy
            // together, weigh little.
            Self::Closed(clients) => (clients * 8).max(32),
            Self::Poisson(_) => 64,
            Self::Trace(trace) => trace.requests(),
        };
        match (span, self) {
            (Span::Default, _) => whole,
            (Span::Requests(n), Self::Trace(_)) => n.min(whole),
            (Span::Requests(n), _) => n,
            (Span::Duration(_), Self::Trace(_)) => whole,
            (Span::Duration(_), _) => REQUESTS_MAX,
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(clients) => write!(f, "concurrency {clients}"),
            Self::Poisson(rate) => write!(f, "rate {rate}/s"),
            Self::Trace(trace) => write!(f, "trace of {}", trace.requests()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_or_refused_with_what_is_accepted() {
        let shown =
            |loads: Vec<Load>| -> Vec<String> { loads.iter().map(Load::to_string).collect() };
        let loads = Load::concurrencies("1, 8,32").expect("a list");
        assert_eq!(shown(loads), ["concurrency 1", "concurrency 8", "concurrency 32"]);
        assert_eq!(shown(Load::rates("0.5,2").expect("a list")), ["rate 0.5/s", "rate 2/s"]);
        for text in ["", "0", "1,,2", "8 32", "5000", "-1", "1.5"] {
            assert!(Load::concurrencies(text).expect_err(text).contains("1,8,32"), "{text}");
        }
        for text in ["", "0", "-2", "NaN", "inf", "1;2", "10001"] {
            assert!(Load::rates(text).expect_err(text).contains("0.5,2,5"), "{text}");
        }
    }

    #[test]
    fn a_run_has_enough_requests_for_its_load() {
        for (load, span, expect) in [
            (Load::Closed(1), Span::Default, 32),
            (Load::Closed(32), Span::Default, 256),
            (Load::Closed(32), Span::Requests(3), 3),
            (Load::Poisson(2.0), Span::Default, 64),
            (Load::Poisson(2.0), Span::Duration(Duration::from_secs(1)), REQUESTS_MAX),
        ] {
            assert_eq!(load.requests(span), expect, "{load} {span:?}");
        }
    }
}
