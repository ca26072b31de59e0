//! The results: what was asked, of whom, and every run with its records. The JSON's shape.
//!
//! A change that a reader of the JSON would notice raises `SCHEMA`. Next: `table.rs`, `page.rs`.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::environment::Environment;
use crate::figures::Figures;
use crate::metrics::METRICS;
use crate::plan::{Load, Plan, Span};
use crate::record::Record;
use crate::stats::{Ratio, median, ratio_of_medians};

/// The version of the JSON.
const SCHEMA: u32 = 1;

/// A whole report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub schema: u32,
    /// Where and when.
    pub environment: Environment,
    /// What was asked for.
    pub settings: Settings,
    /// One server, or two.
    pub servers: Vec<About>,
    /// One for each load, in the order asked for.
    pub cells: Vec<Cell>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Lengths of prompts, as written.
    pub prompt_tokens: String,
    /// Lengths of answers, as written.
    pub output_tokens: String,
    /// Tokens all prompts begin with, beside their own.
    pub shared_prefix: u32,
    /// Decides everything random.
    pub seed: u64,
    /// Runs of each cell on each server.
    pub repeats: u32,
    /// Requests before each run that are not counted.
    pub warmup: u32,
    /// Time after which no request is begun.
    pub duration_s: Option<f64>,
    /// The limit of a good request's TTFT.
    pub ttft_limit_ms: Option<f64>,
    /// The limit of a good request's mean ITL.
    pub itl_limit_ms: Option<f64>,
}

/// Who was measured.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// `A` or `B`.
    pub side: &'static str,
    /// Its root.
    pub url: String,
    /// The route that was loaded.
    pub route: &'static str,
    /// The model that was named.
    pub model: Option<String>,
    /// What it calls itself.
    pub product: Option<String>,
    /// Its version, where it tells one.
    pub version: Option<String>,
    /// `exact` where its tokenizer was asked, `about` where a word was taken for a token.
    pub prompt_counted: &'static str,
    /// The route that was pinged.
    pub ping: Option<&'static str>,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Its name.
    pub load: String,
    /// Clients of a closed loop.
    pub concurrency: Option<u32>,
    /// Requests a second of an open loop.
    pub rate: Option<f64>,
    /// One for each server.
    pub sides: Vec<Side>,
    /// A over B; empty with one server.
    pub ratios: Vec<Compared>,
}

/// One server under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// `A` or `B`.
    pub side: &'static str,
    /// Median over runs of each metric there is.
    pub medians: Map<String, Value>,
    /// In the order they ran.
    pub runs: Vec<Run>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// From 0.
    pub repeat: u32,
    /// What it was like.
    pub figures: Figures,
    /// Every request.
    pub requests: Vec<Record>,
}

/// One metric of two servers.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The metric's name.
    pub metric: &'static str,
    /// `more` or `less`.
    pub better: &'static str,
    /// A over B.
    #[serde(flatten)]
    pub ratio: Ratio,
}

impl Report {
    /// A report without cells.
    pub(crate) fn new(plan: &Plan, servers: Vec<About>, environment: Environment) -> Self {
        let settings = Settings {
            prompt_tokens: plan.prompt.to_string(),
            output_tokens: plan.output.to_string(),
            shared_prefix: plan.prefix_tokens,
            seed: plan.seed,
            repeats: plan.repeats,
            warmup: plan.warmup,
            duration_s: match plan.span {
                Span::Duration(duration) => Some(duration.as_secs_f64()),
                Span::Default | Span::Requests(_) => None,
            },
            ttft_limit_ms: plan.limits.ttft_ms,
            itl_limit_ms: plan.limits.itl_ms,
        };
        Self { schema: SCHEMA, environment, settings, servers, cells: Vec::new() }
    }

    /// The cells in which no request of a server succeeded, by name.
    #[must_use]
    pub fn failed_cells(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for cell in &self.cells {
            for side in &cell.sides {
                if side.runs.iter().all(|run| run.figures.succeeded == 0) {
                    failed.push(format!("{} of {}", cell.load, side.side));
                }
            }
        }
        failed
    }

    /// The JSON document.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists")
    }
}

impl Cell {
    /// A cell of the runs of each server.
    pub(crate) fn new(load: &Load, runs: Vec<(&'static str, Vec<Run>)>, seed: u64) -> Self {
        let ratios = match runs.as_slice() {
            [(_, a), (_, b)] => compare(a, b, seed),
            _ => Vec::new(),
        };
        let side = |(side, runs): (&'static str, Vec<Run>)| {
            let of = |metric: &crate::metrics::Metric| {
                let values: Vec<f64> =
                    runs.iter().filter_map(|run| (metric.of)(&run.figures)).collect();
                Some((metric.name.to_owned(), median(&values)?.into()))
            };
            Side { side, medians: METRICS.iter().filter_map(of).collect(), runs }
        };
        Self {
            load: load.to_string(),
            concurrency: if let Load::Closed(clients) = load { Some(*clients) } else { None },
            rate: if let Load::Poisson(rate) = load { Some(*rate) } else { None },
            sides: runs.into_iter().map(side).collect(),
            ratios,
        }
    }
}

impl Cell {
    /// Its requests are a trace's, lengths and times.
    pub(crate) fn is_traced(&self) -> bool {
        self.concurrency.is_none() && self.rate.is_none()
    }
}

impl Side {
    /// The median of a metric, if any run had it.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        self.medians.get(name).and_then(Value::as_f64)
    }

    /// Requests of all runs that succeeded, and that failed.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let figures = self.runs.iter().map(|run| &run.figures);
        figures.fold((0, 0), |(good, bad), f| (good + f.succeeded, bad + f.failed))
    }
}

fn compare(a: &[Run], b: &[Run], seed: u64) -> Vec<Compared> {
    let compared = METRICS.iter().filter(|metric| metric.is_compared);
    let of = |metric: &crate::metrics::Metric| {
        let values = a.iter().zip(b);
        let pairs: Vec<(f64, f64)> = values
            .filter_map(|(a, b)| Some(((metric.of)(&a.figures)?, (metric.of)(&b.figures)?)))
            .collect();
        let ratio = ratio_of_medians(&pairs, seed)?;
        let better = if metric.is_gain { "more" } else { "less" };
        Some(Compared { metric: metric.name, better, ratio })
    };
    compared.filter_map(of).collect()
}
