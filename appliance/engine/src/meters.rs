//! All metrics of the appliance in one table: name, kind, labels, meaning.
//!
//! Recording happens where things happen; here is only what they are called. The edge renders the
//! table and takes the histograms' buckets from it. Next: `lane.rs`.
//!
//! Handles bind to the recorder that is installed when a lane starts: install it first.

use std::time::Duration;

use gimbal_scheduler::{Micros, Stats};
use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
use tracing::{Span, trace_span};

use crate::clock::between;
use crate::lane::LaneEvent;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations in seconds, in [`BUCKETS`].
    Histogram,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels and their values.
    pub labels: &'static str,
    /// One sentence.
    pub doc: &'static str,
}

/// Upper bounds of histogram buckets, in seconds: from a refusal to a batch job.
pub const BUCKETS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 120.0, 480.0,
];

macro_rules! meters {
    ($($constant:ident $kind:ident $name:literal $labels:literal $doc:literal)*) => {
        $(#[doc = $doc] pub const $constant: &str = $name;)*

        /// The table.
        pub const TABLE: &[Meter] = &[$(
            Meter { name: $name, kind: Kind::$kind, labels: $labels, doc: $doc },
        )*];
    };
}

meters! {
    REQUESTS Counter "gimbal_requests_total" "model, finish"
        "Continuations that ended, by finish reason."
    REFUSED Counter "gimbal_refused_total" "model, reason"
        "Requests that were not admitted, by reason."
    CANCELLED Counter "gimbal_cancelled_total" "model" "Requests whose client went away."
    TOKENS Counter "gimbal_tokens_total" "model, kind = prompt | cached | output"
        "Tokens of admitted requests."
    TTFT Histogram "gimbal_ttft_seconds" "model" "From the request's arrival to its first token."
    ITL Histogram "gimbal_itl_seconds" "model" "Between two tokens of a continuation."
    E2E Histogram "gimbal_e2e_seconds" "model"
        "From the request's arrival to the end of a continuation."
    QUEUE Histogram "gimbal_queue_seconds" "model" "From the request's arrival to its first step."
    STEP Histogram "gimbal_step_seconds" "model, lane" "From submitting a step to its outcome."
    STATION Histogram "gimbal_station_seconds" "station"
        "Time spent at one of the eight stations (see `Station`)."
    KV_BLOCKS Gauge "gimbal_kv_blocks" "model, lane, state = used | cached | free"
        "Blocks of the KV cache."
    SLOTS_USED Gauge "gimbal_slots_used" "model, lane" "Sequence slots in use."
    RUNNING Gauge "gimbal_running" "model, lane" "Sequences in the rolling batch."
    WAITING Gauge "gimbal_waiting" "model, lane" "Requests in the queue."
    STEPS Counter "gimbal_steps_total" "model, lane" "Steps scheduled."
    ROWS Counter "gimbal_rows_total" "model, lane, kind = prefill | decode" "Rows computed."
    PREEMPTIONS Counter "gimbal_preemptions_total" "model, lane"
        "Sequences preempted for lack of blocks."
    TURNS Counter "gimbal_turns_total" "model, lane"
        "Seats given up for somebody with a better claim."
    ROW_FAULTS Counter "gimbal_row_faults_total" "model, lane" "Rows that failed alone."
    LOSSES Counter "gimbal_device_losses_total" "model, lane" "Devices lost and opened again."
    RESTARTS Counter "gimbal_engine_restarts_total" "model, lane"
        "Bugs that cost the requests of a lane."
    INFO Gauge "gimbal_info" "version, model, backend" "Always 1."
    HTTP Counter "gimbal_http_responses_total" "route, status" "Responses, by route and status."
    CONNECTIONS Gauge "gimbal_http_connections" "" "Open connections."
    NOT_ACCEPTED Counter "gimbal_http_not_accepted_total" ""
        "Connections for which there was no place or no descriptor."
    STALLED Counter "gimbal_stalled_clients_total" ""
        "Streams ended because the client did not read."
    LOG_DROPPED Counter "gimbal_log_lines_dropped_total" ""
        "Log lines lost because stderr was not read or could not be written."
}

/// Tells the recorder what everything means.
pub fn describe() {
    for meter in TABLE {
        match meter.kind {
            Kind::Counter => metrics::describe_counter!(meter.name, meter.doc),
            Kind::Gauge => metrics::describe_gauge!(meter.name, meter.doc),
            Kind::Histogram => metrics::describe_histogram!(meter.name, meter.doc),
        }
    }
}

const HEAD: &str = "\
# Metrics

Written from the table in `src/meters.rs`; do not edit. They are told at `GET /metrics` in
Prometheus' text format; `metrics_alias: vllm` adds vLLM's names of the same series. Histograms are
in seconds.
";

/// The table as Markdown: `docs/metrics.md` is written by a test from here.
#[must_use]
pub fn markdown() -> String {
    let row = |m: &Meter| {
        let labels = if m.labels.is_empty() { "–" } else { m.labels };
        let labels = labels.replace('|', "\\|");
        let kind = format!("{:?}", m.kind).to_lowercase();
        format!("| `{}` | {kind} | {labels} | {} |\n", m.name, m.doc)
    };
    let rows: String = TABLE.iter().map(row).collect();
    format!("{HEAD}\n| name | kind | labels | meaning |\n|---|---|---|---|\n{rows}")
}

/// The eight stations of a request, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    /// Body to request, and a permit.
    Parse,
    /// Template and token ids.
    Tokenize,
    /// What needs token counts.
    Admit,
    /// Scheduler to batch.
    Schedule,
    /// Batch to device.
    Submit,
    /// Device to outcome.
    Collect,
    /// Outcome to events.
    Commit,
    /// Tokens to text.
    Stream,
}

impl Station {
    /// The one name in code, spans, metrics and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Tokenize => "tokenize",
            Self::Admit => "admit",
            Self::Schedule => "schedule",
            Self::Submit => "submit",
            Self::Collect => "collect",
            Self::Commit => "commit",
            Self::Stream => "stream",
        }
    }

    /// The station's span, at level trace: what is logged inside carries its name.
    #[must_use]
    pub fn span(self) -> Span {
        match self {
            Self::Parse => trace_span!("parse"),
            Self::Tokenize => trace_span!("tokenize"),
            Self::Admit => trace_span!("admit"),
            Self::Schedule => trace_span!("schedule"),
            Self::Submit => trace_span!("submit"),
            Self::Collect => trace_span!("collect"),
            Self::Commit => trace_span!("commit"),
            Self::Stream => trace_span!("stream"),
        }
    }

    /// Notes the time one visit took.
    pub fn record(self, took: Duration) {
        self.histogram().record(took);
    }

    /// The handle, for those who come here every step.
    pub(crate) fn histogram(self) -> Histogram {
        histogram!(STATION, "station" => self.name())
    }
}

/// When things happened to a request.
pub(crate) struct Times {
    /// At the edge.
    pub(crate) arrived: Micros,
    /// In the lane.
    pub(crate) admitted: Micros,
    pub(crate) prompt_tokens: u32,
    /// The newest token of each choice.
    pub(crate) newest: Vec<Option<Micros>>,
}

/// Handles of one lane.
pub(crate) struct LaneMeters {
    blocks: [Gauge; 3],
    slots_used: Gauge,
    running: Gauge,
    waiting: Gauge,
    steps: Counter,
    rows: [Counter; 2],
    preemptions: Counter,
    turns: Counter,
    row_faults: Counter,
    losses: Counter,
    pub(crate) restarts: Counter,
    pub(crate) step: Histogram,
    /// Prompt, cached, output.
    tokens: [Counter; 3],
    ttft: Histogram,
    itl: Histogram,
    e2e: Histogram,
    queue: Histogram,
    pub(crate) schedule: Histogram,
    pub(crate) submit: Histogram,
    pub(crate) collect: Histogram,
    pub(crate) commit: Histogram,
}

impl LaneMeters {
    pub(crate) fn new(model: &str, lane: u16) -> Self {
        let (model, lane) = (model.to_owned(), lane.to_string());
        let labels = vec![Label::new("model", model.clone()), Label::new("lane", lane)];
        let count = |name: &'static str| counter!(name, labels.clone());
        let level = |name: &'static str| gauge!(name, labels.clone());
        let with = |key, value| {
            let mut labels = labels.clone();
            labels.push(Label::new(key, value));
            labels
        };
        let blocks = |state: &'static str| gauge!(KV_BLOCKS, with("state", state));
        let rows = |kind: &'static str| counter!(ROWS, with("kind", kind));
        Self {
            blocks: ["used", "cached", "free"].map(blocks),
            slots_used: level(SLOTS_USED),
            running: level(RUNNING),
            waiting: level(WAITING),
            steps: count(STEPS),
            rows: ["prefill", "decode"].map(rows),
            preemptions: count(PREEMPTIONS),
            turns: count(TURNS),
            row_faults: count(ROW_FAULTS),
            losses: count(LOSSES),
            restarts: count(RESTARTS),
            step: histogram!(STEP, labels.clone()),
            tokens: ["prompt", "cached", "output"]
                .map(|kind| counter!(TOKENS, "model" => model.clone(), "kind" => kind)),
            ttft: histogram!(TTFT, "model" => model.clone()),
            itl: histogram!(ITL, "model" => model.clone()),
            e2e: histogram!(E2E, "model" => model.clone()),
            queue: histogram!(QUEUE, "model" => model.clone()),
            schedule: Station::Schedule.histogram(),
            submit: Station::Submit.histogram(),
            collect: Station::Collect.histogram(),
            commit: Station::Commit.histogram(),
        }
    }

    /// Notes what an event says about latency and tokens.
    pub(crate) fn note(&self, times: &mut Times, event: &LaneEvent, now: Micros) {
        match event {
            LaneEvent::Started { cached_tokens, waited } => {
                let until_admitted = between(times.arrived, times.admitted);
                self.queue.record(until_admitted + Duration::from_micros(waited.0));
                self.tokens[0].increment(u64::from(times.prompt_tokens));
                self.tokens[1].increment(u64::from(*cached_tokens));
            }
            LaneEvent::Finished { .. } => self.e2e.record(between(times.arrived, now)),
            LaneEvent::Token { choice, finish, .. } => {
                self.tokens[2].increment(1);
                if finish.is_some() {
                    self.e2e.record(between(times.arrived, now));
                }
                let Some(slot) = times.newest.get_mut(usize::from(*choice)) else { return };
                match slot.replace(now) {
                    Some(before) => self.itl.record(between(before, now)),
                    None => self.ttft.record(between(times.arrived, now)),
                }
            }
            _ => {}
        }
    }

    /// Publishes the scheduler's books.
    pub(crate) fn publish(&self, stats: &Stats) {
        let blocks = [stats.blocks_used, stats.blocks_cached, stats.blocks_free];
        for (gauge, count) in self.blocks.iter().zip(blocks) {
            gauge.set(f64::from(count));
        }
        self.slots_used.set(f64::from(stats.slots_used));
        self.running.set(f64::from(stats.running));
        self.waiting.set(f64::from(stats.waiting));
        self.steps.absolute(stats.steps);
        self.rows[0].absolute(stats.prefill_tokens);
        self.rows[1].absolute(stats.decode_tokens);
        self.preemptions.absolute(stats.preemptions);
        self.turns.absolute(stats.turns);
        self.row_faults.absolute(stats.row_faults);
        self.losses.absolute(stats.losses);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `GIMBAL_TEST_UPDATE=1 cargo test` writes it.
    #[test]
    fn the_document_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("GIMBAL_TEST_UPDATE").is_some() {
            std::fs::write(path, markdown()).expect("a writable tree");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == markdown(), "run GIMBAL_TEST_UPDATE=1 cargo test -p gimbal-engine");
    }

    #[test]
    fn names_carry_their_unit_and_stand_once() {
        for (i, meter) in TABLE.iter().enumerate() {
            let suffix = match meter.kind {
                Kind::Counter => "_total",
                Kind::Histogram => "_seconds",
                Kind::Gauge => "",
            };
            assert!(meter.name.starts_with("gimbal_"), "{}", meter.name);
            assert!(meter.name.ends_with(suffix), "{}", meter.name);
            assert!(meter.doc.ends_with('.'), "{}", meter.name);
            assert!(TABLE[..i].iter().all(|m| m.name != meter.name), "{}", meter.name);
        }
    }
}
