//! `gimbal bench`: loads a server as its users would, and tells what it was like for them.
//!
//! It measures Gimbal and every server with OpenAI's routes by the same means, over HTTP and from
//! outside: a figure of one server means what the same figure of another means.
#![doc = include_str!("../docs/bench.md")]
//! # Reading order
//! `plan` (what is asked), `bench` (the loop over cells, repeats and sides), `server` (who is
//! measured), `load` (closed and open loops), `script`, `lengths`, `words`, `arrivals` (what is
//! sent, and when), `attempt` (one request), `client`, `frames`, `wire` (HTTP, framing, meaning),
//! `record`, `ping` (raw results), `figures`, `metrics`, `stats` (results), `report`, `table`,
//! `page`, `plot` (told); `boot` (a process from its start to its first token).
//!
//! # Invariants
//! - Every wait, body, event, list and count is bounded.
//! - Everything random is a function of the seed; two sides get the same requests.
//! - A failed request is a record, never silence, and adds nothing to a throughput.
//! - Absent: other crates of ours, TLS, retries of requests, settings, logging of texts.

#![forbid(unsafe_code)]

mod arrivals;
mod attempt;
mod bench;
mod boot;
mod client;
mod environment;
mod error;
mod figures;
mod frames;
mod lengths;
mod load;
mod metrics;
mod page;
mod ping;
mod plan;
mod plot;
mod progress;
mod record;
mod report;
mod rng;
mod script;
mod server;
mod stats;
mod table;
mod wire;
mod words;

pub use arrivals::Trace;
pub use bench::run;
pub use boot::{Boot, BootPlan, BootReport};
pub use client::{Target, Timeouts};
pub use environment::Environment;
pub use error::BenchError;
pub use figures::{Figures, PingFigures};
pub use lengths::Lengths;
pub use plan::{Limits, Load, Plan, Span};
pub use record::{Counted, Record, RequestError};
pub use report::{About, Cell, Compared, Report, Run, Settings, Side};
pub use stats::{Ratio, Spread, median, quantile, ratio_of_medians};
pub use wire::Api;
