//! The report as text, for a terminal.
//!
//! Next: `page.rs`.

use crate::metrics::{METRICS, Metric};
use crate::report::{About, Cell, Report, Side};

/// A lag of an open loop's client that a reader must know of.
const LAG_MS: f64 = 10.0;

impl Report {
    /// The report as text.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = Lines::default();
        for about in &self.servers {
            out.line(&about_line(about));
        }
        out.line(&self.settings_line());
        out.line("");
        self.figures_table(&mut out);
        for note in self.notes() {
            out.line(&note);
        }
        self.ratio_table(&mut out);
        out.0
    }

    /// What was asked for, in a line.
    pub(crate) fn settings_line(&self) -> String {
        let settings = &self.settings;
        let counted: Vec<&str> = self.servers.iter().map(|about| about.prompt_counted).collect();
        let prefix = match settings.shared_prefix {
            0 => String::new(),
            tokens => format!(" after {tokens} shared"),
        };
        let lengths = match self.cells.iter().all(Cell::is_traced) {
            true => format!("lengths of the trace{prefix} ({})", counted.join(", ")),
            false => format!(
                "prompts of {} tokens{prefix} ({}), outputs of {}",
                settings.prompt_tokens,
                counted.join(", "),
                settings.output_tokens,
            ),
        };
        format!(
            "{lengths}, {} warm-up, {} runs each{}, seed {}",
            settings.warmup,
            settings.repeats,
            if settings.repeats > 1 { ": medians" } else { "" },
            settings.seed,
        )
    }

    /// Metrics that some side has.
    pub(crate) fn columns(&self) -> Vec<&'static Metric> {
        let sides = || self.cells.iter().flat_map(|cell| &cell.sides);
        let is_there = |metric: &&Metric| sides().any(|s| s.medians.contains_key(metric.name));
        METRICS.iter().filter(is_there).collect()
    }

    fn figures_table(&self, out: &mut Lines) {
        let columns = self.columns();
        let mut rows = vec![Vec::new(), Vec::new()];
        rows[0].extend(["", "", "", ""].map(str::to_owned));
        rows[1].extend(["load", "", "ok", "failed"].map(str::to_owned));
        for metric in &columns {
            rows[0].push(metric.head.0.to_owned());
            rows[1].push(metric.head.1.to_owned());
        }
        for cell in &self.cells {
            for side in &cell.sides {
                rows.push(row(cell, side, &columns));
            }
        }
        out.aligned(&[0, 1], &rows);
        out.line(
            "times in ms; TTFT to the first token, ITL between tokens, TPOT mean ITL of a request",
        );
    }

    /// What a reader must know before believing the figures.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for cell in &self.cells {
            for side in &cell.sides {
                let name = format!("{} {}", cell.load, side.side);
                notes.extend(side_notes(&name, side));
            }
        }
        notes
    }

    fn ratio_table(&self, out: &mut Lines) {
        if self.servers.len() < 2 {
            return;
        }
        out.line("");
        out.line("A over B, ratio of medians and its 95 % bootstrap interval over pairs of runs");
        let mut rows =
            vec![["load", "metric", "A/B", "low", "high", ""].map(str::to_owned).to_vec()];
        for cell in &self.cells {
            for compared in &cell.ratios {
                let ratio = compared.ratio;
                rows.push(vec![
                    cell.load.clone(),
                    compared.metric.to_owned(),
                    format!("{:.3}", ratio.ratio),
                    ratio.low.map_or_else(|| "-".to_owned(), |low| format!("{low:.3}")),
                    ratio.high.map_or_else(|| "-".to_owned(), |high| format!("{high:.3}")),
                    format!("{} is better", compared.better),
                ]);
            }
        }
        out.aligned(&[0, 1, 5], &rows);
        if self.settings.repeats < 5 {
            out.line("an interval needs --repeats of 5 or more to mean anything");
        }
    }
}

/// Who a server is, in a line.
pub(crate) fn about_line(about: &About) -> String {
    let ping = about.ping.map_or_else(String::new, |path| format!(", ping {path}"));
    format!(
        "{} {} {} {}: POST {}, model {}{ping}",
        about.side,
        about.url,
        about.product.as_deref().unwrap_or("unknown"),
        about.version.as_deref().unwrap_or("(no version)"),
        about.route,
        about.model.as_deref().unwrap_or("(the server's own)"),
    )
}

/// A number with as many digits as are worth reading.
pub(crate) fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 1_000.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn row(cell: &Cell, side: &Side, columns: &[&Metric]) -> Vec<String> {
    let (good, bad) = side.counts();
    let mut row = vec![cell.load.clone(), side.side.to_owned(), good.to_string(), bad.to_string()];
    row.extend(columns.iter().map(|metric| shown(side.median(metric.name))));
    row
}

fn side_notes(name: &str, side: &Side) -> Vec<String> {
    let mut notes = Vec::new();
    let mut sums = std::collections::BTreeMap::<&String, (u32, &String)>::new();
    for figures in side.runs.iter().map(|run| &run.figures) {
        for (kind, count) in &figures.errors {
            let example = &figures.error_examples[kind];
            sums.entry(kind).or_insert((0, example)).0 += count;
        }
    }
    for (kind, (count, example)) in sums {
        notes.push(format!("{name}: {count} failed with {kind}, such as: {example}"));
    }
    let figures = || side.runs.iter().map(|run| &run.figures);
    let short: u32 = figures().map(|f| f.short).sum();
    if short > 0 {
        notes.push(format!("{name}: {short} answers were shorter than asked for"));
    }
    let pieces = figures().filter(|f| f.output_counted == crate::record::Counted::Pieces);
    if pieces.filter(|f| f.succeeded > 0).count() > 0 {
        notes.push(format!(
            "{name}: the server counts no tokens; pieces of the stream were counted"
        ));
    }
    let lag = figures().filter_map(|f| f.lag_ms).map(|lag| lag.p99).fold(0.0, f64::max);
    if lag > LAG_MS {
        notes.push(format!(
            "{name}: the client was late by {lag:.0} ms (p99): the load is not right"
        ));
    }
    let pings: u32 = figures().filter_map(|f| f.ping.as_ref()).map(|ping| ping.failed).sum();
    if pings > 0 {
        notes.push(format!("{name}: {pings} pings failed"));
    }
    notes
}

/// Text that grows by lines.
#[derive(Debug, Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// Columns as wide as their widest; those of words to the left, numbers to the right.
    fn aligned(&mut self, words: &[usize], rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let longest =
            |at: usize| rows.iter().filter_map(|r| r.get(at)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|at| longest(at).unwrap_or(0)).collect();
        for row in rows {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += &match words.contains(&at) {
                    true => format!("{cell:width$}  "),
                    false => format!("{cell:>width$}  "),
                };
            }
            self.line(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_digits_worth_reading() {
        for (value, expect) in [
            (None, "-"),
            (Some(0.123_4), "0.12"),
            (Some(99.999), "100.00"),
            (Some(123.46), "123.5"),
            (Some(12_345.6), "12346"),
        ] {
            assert_eq!(shown(value), expect, "{value:?}");
        }
    }

    #[test]
    fn columns_are_aligned_by_what_is_in_them() {
        let mut lines = Lines::default();
        let rows = [["load", "ok"], ["concurrency 1", "7"], ["rate 2/s", "123"]];
        lines.aligned(&[0], &rows.map(|row| row.map(str::to_owned).to_vec()));
        assert_eq!(lines.0, "load            ok\nconcurrency 1    7\nrate 2/s       123\n");
    }
}
