//! The report as one HTML page that needs nothing else: no script, no address, no font.
//!
//! Last of the bench.

use crate::plot::{Axis, Line, Plot, escape};
use crate::record::Record;
use crate::report::{Cell, Report, Side};
use crate::stats::quantile;
use crate::table::{about_line, shown};

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:76em;\
    padding:0 1em;color:#222;background:#fff}table{border-collapse:collapse;margin:1em 0;\
    font-variant-numeric:tabular-nums}th,td{padding:.15em .7em;text-align:right;\
    border-bottom:1px solid #ddd}th.w,td.w{text-align:left;white-space:nowrap}\
    svg{display:block;margin:1.5em 0;overflow:visible;\
    max-width:100%;height:auto;font-size:12px}.title{font-size:15px;font-weight:600}\
    .grid{stroke:#e4e4e4}.limit{stroke:#c00;stroke-dasharray:4}pre{white-space:pre-wrap}\
    .better{color:#006d4f;font-weight:600}.worse{color:#b03a00;font-weight:600}";

/// Points of a distribution's line: every half percent.
const SHARES: u16 = 200;

impl Report {
    /// The report as a page.
    #[must_use]
    pub fn page(&self) -> String {
        let environment = &self.environment;
        let title = match self.servers.as_slice() {
            [a, b] => format!("{} against {}", a.url, b.url),
            _ => self.servers.iter().map(|about| about.url.clone()).collect(),
        };
        let mut page = format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>gimbal bench: {0}</title>\
             <meta name=viewport content='width=device-width'><style>{STYLE}</style>\
             <h1>gimbal bench</h1><pre>{1}</pre><p>{2}, {3} ({4} threads), {5}, gimbal-bench {6}, \
             seed {7}</p><ul>",
            escape(&title),
            escape(&environment.command),
            escape(&environment.date),
            escape(&environment.cpu),
            environment.threads,
            escape(&environment.system),
            environment.bench_version,
            self.settings.seed,
        );
        for about in &self.servers {
            page += &format!("<li>{}", escape(&about_line(about)));
        }
        page += &format!("</ul><p>{}</p>", escape(&self.settings_line()));
        page += &self.figures_html();
        page += &self.notes_html();
        page += &self.ratios_html();
        for plot in self.plots() {
            page += &plot.svg();
        }
        page + "</html>\n"
    }

    fn figures_html(&self) -> String {
        let columns = self.columns();
        let head = |name: &str| format!("<th>{name}");
        let mut html = "<table><tr><th class=w>load<th class=w><th>ok<th>failed".to_owned();
        html.extend(columns.iter().map(|m| head(&format!("{}<br>{}", m.head.0, m.head.1))));
        for cell in &self.cells {
            for side in &cell.sides {
                let (good, bad) = side.counts();
                html += &format!(
                    "<tr><td class=w>{}<td class=w>{}<td>{good}<td>{bad}",
                    escape(&cell.load),
                    side.side
                );
                let medians = columns.iter().map(|metric| side.median(metric.name));
                html.extend(medians.map(|median| format!("<td>{}", shown(median))));
            }
        }
        html + "</table><p>Times in ms. TTFT: to the first token; ITL: between tokens; TPOT: mean \
                ITL of a request; end: to the last token.</p>"
    }

    fn notes_html(&self) -> String {
        let notes = self.notes();
        if notes.is_empty() {
            return String::new();
        }
        let items = notes.iter().map(|note| format!("<li>{}", escape(note)));
        format!("<ul>{}</ul>", items.collect::<String>())
    }

    fn ratios_html(&self) -> String {
        if self.servers.len() < 2 {
            return String::new();
        }
        let mut html = "<h2>A over B</h2><p>Ratio of medians and its 95 % bootstrap interval over \
                        pairs of runs; coloured where the interval excludes 1.</p><table><tr>\
                        <th class=w>load<th class=w>metric<th>A/B<th>low<th>high\
                        <th class=w>better"
            .to_owned();
        for cell in &self.cells {
            for compared in &cell.ratios {
                let ratio = compared.ratio;
                let end = |end: Option<f64>| end.map_or("-".to_owned(), |v| format!("{v:.3}"));
                let is_more = ratio.low.is_some_and(|low| low > 1.0);
                let is_less = ratio.high.is_some_and(|high| high < 1.0);
                let class = match (is_more, is_less, compared.better == "more") {
                    (true, _, true) | (_, true, false) => " class=better",
                    (true, _, false) | (_, true, true) => " class=worse",
                    (false, false, _) => "",
                };
                html += &format!(
                    "<tr><td class=w>{}<td class=w>{}<td{class}>{:.3}<td>{}<td>{}<td class=w>{}",
                    escape(&cell.load),
                    compared.metric,
                    ratio.ratio,
                    end(ratio.low),
                    end(ratio.high),
                    compared.better,
                );
            }
        }
        html + "</table>"
    }

    fn plots(&self) -> [Plot; 4] {
        let limit = &self.settings;
        let ttft = |r: &Record| r.ttft_us.into_iter().collect();
        [
            self.throughput("output tokens a second over clients", "clients", |cell| {
                cell.concurrency.map(f64::from)
            }),
            self.throughput("output tokens a second over rate", "requests/s", |cell| cell.rate),
            self.distribution("time to first token", limit.ttft_limit_ms, ttft),
            // The limit is on a request's mean, not on each of these.
            self.distribution("time between tokens", None, |r| r.itl_us.clone()),
        ]
    }

    /// One line for each server over all loads of a kind.
    fn throughput(
        &self,
        title: &'static str,
        name: &'static str,
        load: fn(&Cell) -> Option<f64>,
    ) -> Plot {
        let line = |(number, about): (usize, &crate::report::About)| {
            let point = |cell: &Cell| {
                Some((load(cell)?, cell.sides.get(number)?.median("output_tokens_per_s")?))
            };
            let mut points: Vec<(f64, f64)> = self.cells.iter().filter_map(point).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let product = about.product.as_deref().unwrap_or_default();
            let name = format!("{} {product}", about.side);
            Line { name, colour: number, is_dashed: false, has_marks: true, points }
        };
        let lines = self.servers.iter().enumerate().map(line).collect();
        let (x, y) = (axis(name, false), axis("tokens/s", false));
        Plot { title, x, y, limit: None, lines }
    }

    /// One line for each load and server: which share of values is below.
    fn distribution(
        &self,
        title: &'static str,
        limit: Option<f64>,
        of: fn(&Record) -> Vec<u64>,
    ) -> Plot {
        let mut lines = Vec::new();
        for (colour, cell) in self.cells.iter().enumerate() {
            for side in &cell.sides {
                let name = match self.servers.len() {
                    1 => cell.load.clone(),
                    _ => format!("{} {}", side.side, cell.load),
                };
                let (is_dashed, points) = (side.side == "B", shares(side, of));
                lines.push(Line { name, colour, is_dashed, has_marks: false, points });
            }
        }
        let (x, y) = (axis("ms", true), axis("% at most", false));
        Plot { title, x, y, limit, lines }
    }
}

fn axis(name: &'static str, is_log: bool) -> Axis {
    Axis { name, is_log }
}

/// Values of all runs by their share.
fn shares(side: &Side, of: fn(&Record) -> Vec<u64>) -> Vec<(f64, f64)> {
    let good = side.runs.iter().flat_map(|run| &run.requests).filter(|r| r.error.is_none());
    let mut values: Vec<f64> = good.flat_map(of).map(|us| us as f64 / 1e3).collect();
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        return Vec::new();
    }
    let share = |n: u16| f64::from(n) / f64::from(SHARES);
    (0..=SHARES).map(|n| (quantile(&values, share(n)), 100.0 * share(n))).collect()
}
