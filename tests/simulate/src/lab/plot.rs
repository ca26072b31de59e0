//! The results as one HTML page that needs nothing else.
//!
//! Last of the laboratory.

use std::fmt::Write;

use super::meter::{Report, at};
use super::options::Options;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const MARGIN: f64 = 48.0;

/// Blue for ours, orange for the other: told apart by everybody.
const COLOURS: [(&str, &str); 2] = [("gimbal", "#0060c0"), ("vllm-model", "#d06000")];

/// Points of one line, in the units of the axes.
type Points = Vec<(f64, f64)>;

struct Plot {
    title: String,
    x: &'static str,
    y: &'static str,
    /// A limit on the x axis.
    limit: Option<f64>,
    lines: Vec<(&'static str, Points)>,
}

/// The page.
pub(super) fn page(options: &Options, reports: &[Report]) -> String {
    let names = COLOURS.map(|(name, _)| name);
    let of = |name: &'static str| reports.iter().filter(move |r| r.policy == name);
    let lines = |points: &dyn Fn(&Report) -> (f64, f64)| {
        names.map(|name| (name, of(name).map(points).collect::<Points>())).to_vec()
    };
    let highest = |name: &'static str| of(name).next_back();
    let spread = |samples: fn(&Report) -> &[u64]| {
        names.map(|name| (name, highest(name).map(samples).map(quantiles).unwrap_or_default()))
    };
    let millis = |micros: gimbal_scheduler::Micros| Some(micros.0 as f64 / 1e3);
    let plots = [
        Plot {
            title: "good requests a second".to_owned(),
            x: "offered, requests a second",
            y: "good, requests a second",
            limit: None,
            lines: lines(&|report| (report.rate, report.goodput())),
        },
        Plot {
            title: "first token at the highest rate".to_owned(),
            x: "ms",
            y: "% of requests",
            limit: millis(options.limits.first_token),
            lines: spread(|report| &report.meter.first_token_us).to_vec(),
        },
        Plot {
            title: "pause between tokens at the highest rate".to_owned(),
            x: "ms",
            y: "% of pauses",
            limit: millis(options.limits.pause),
            lines: spread(|report| &report.meter.pause_us).to_vec(),
        },
    ];
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><title>SIMULATED: {0}, {1}</title>\
         <style>body{{font:14px sans-serif;margin:2em}}svg{{margin:1em}}</style>\
         <h1>SIMULATED: {0}</h1><p>Trace {1}, {2} s, seed {3}, {4} lane(s). \
         vllm-model is a model of vLLM's rule, not vLLM.</p><pre>{5}\n",
        options.device.about,
        options.trace_name,
        options.seconds,
        options.seed,
        options.lanes,
        Report::HEADER,
    );
    for report in reports {
        page.push_str(&report.line());
        page.push('\n');
    }
    page.push_str("</pre>");
    for plot in &plots {
        page.push_str(&plot.svg());
    }
    page
}

impl Plot {
    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(1e-9, f64::max);
        let x_most = most(|p| p.0).max(self.limit.unwrap_or(0.0) * 1.2);
        let y_most = most(|p| p.1);
        let x = |value: f64| MARGIN + value / x_most * (WIDTH - 2.0 * MARGIN);
        let y = |value: f64| HEIGHT - MARGIN - value / y_most * (HEIGHT - 2.0 * MARGIN);
        let (right, bottom) = (WIDTH - MARGIN, HEIGHT - MARGIN);
        let mut svg = format!(
            "<svg width={WIDTH} height={HEIGHT} font-size=12>\
             <text x={MARGIN} y=20 font-size=15>{}</text>\
             <path d='M{MARGIN} {MARGIN}V{bottom}H{right}' fill=none stroke=#888 />\
             <text x={right} y={} text-anchor=end>{} (to {x_most:.1})</text>\
             <text x=4 y={}>{} (to {y_most:.1})</text>",
            self.title,
            HEIGHT - 16.0,
            self.x,
            MARGIN - 8.0,
            self.y,
        );
        let mut written = Vec::new();
        if let Some(limit) = self.limit {
            let at = x(limit);
            written.push(write!(
                svg,
                "<path d='M{at:.1} {MARGIN}V{bottom}' stroke=#c00 stroke-dasharray=4 />"
            ));
        }
        for (n, (name, points)) in self.lines.iter().enumerate().filter(|(_, l)| !l.1.is_empty()) {
            let colour = COLOURS[n].1;
            let point = |(px, py): &(f64, f64)| format!("{:.1},{:.1}", x(*px), y(*py));
            let path: Vec<String> = points.iter().map(point).collect();
            written.push(write!(
                svg,
                "<polyline points='{}' fill=none stroke={colour} stroke-width=2 />\
                 <text x={right} y={} fill={colour} text-anchor=end>{name}</text>",
                path.join(" "),
                MARGIN + 16.0 * f64::from(small(n)),
            ));
        }
        assert!(written.iter().all(Result::is_ok), "a string takes everything");
        svg + "</svg>"
    }
}

/// How many percent of the samples are below which value, in milliseconds.
fn quantiles(sorted: &[u64]) -> Points {
    (0..=100).map(|percent| (at(sorted, percent), f64::from(small(percent)))).collect()
}

fn small(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}
