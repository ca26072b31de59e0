//! The figures that are compared, in one table: names, units, and which direction is better.
//!
//! Medians over repeats, ratios of two servers and both printed tables are made from it.
//! Next: `report.rs`.

use crate::figures::Figures;
use crate::stats::Spread;

/// One figure of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    /// Its name in JSON, unit last.
    pub(crate) name: &'static str,
    /// Its name over a column, in two lines.
    pub(crate) head: (&'static str, &'static str),
    /// More of it is better.
    pub(crate) is_gain: bool,
    /// It is compared between servers.
    pub(crate) is_compared: bool,
    pub(crate) of: fn(&Figures) -> Option<f64>,
}

const fn metric(
    name: &'static str,
    head: (&'static str, &'static str),
    of: fn(&Figures) -> Option<f64>,
) -> Metric {
    Metric { name, head, is_gain: false, is_compared: false, of }
}

impl Metric {
    const fn gain(self) -> Self {
        Self { is_gain: true, ..self }
    }

    const fn compared(self) -> Self {
        Self { is_compared: true, ..self }
    }
}

fn spread(of: Option<Spread>, part: fn(Spread) -> f64) -> Option<f64> {
    of.map(part)
}

fn ping(figures: &Figures, part: fn(Spread) -> f64) -> Option<f64> {
    figures.ping.as_ref().and_then(|ping| ping.ms).map(part)
}

/// All of them, in the order of columns.
pub(crate) const METRICS: [Metric; 14] = [
    metric("requests_per_s", ("req", "/s"), |f| Some(f.requests_per_s)).gain().compared(),
    metric("output_tokens_per_s", ("tokens", "/s"), |f| Some(f.output_tokens_per_s))
        .gain()
        .compared(),
    metric("goodput_per_s", ("good", "/s"), |f| f.goodput_per_s).gain().compared(),
    metric("ttft_p50_ms", ("TTFT", "p50"), |f| spread(f.ttft_ms, |s| s.p50)).compared(),
    metric("ttft_p99_ms", ("TTFT", "p99"), |f| spread(f.ttft_ms, |s| s.p99)).compared(),
    metric("itl_p50_ms", ("ITL", "p50"), |f| spread(f.itl_ms, |s| s.p50)).compared(),
    metric("itl_p99_ms", ("ITL", "p99"), |f| spread(f.itl_ms, |s| s.p99)).compared(),
    metric("tpot_p50_ms", ("TPOT", "p50"), |f| spread(f.tpot_ms, |s| s.p50)),
    metric("tpot_p99_ms", ("TPOT", "p99"), |f| spread(f.tpot_ms, |s| s.p99)),
    metric("e2e_p50_ms", ("end", "p50"), |f| spread(f.e2e_ms, |s| s.p50)),
    metric("e2e_p99_ms", ("end", "p99"), |f| spread(f.e2e_ms, |s| s.p99)),
    metric("ping_p50_ms", ("ping", "p50"), |f| ping(f, |s| s.p50)),
    metric("ping_p99_ms", ("ping", "p99"), |f| ping(f, |s| s.p99)),
    metric("ping_max_ms", ("ping", "max"), |f| ping(f, |s| s.max)),
];
