//! All metrics of the appliance in one table: name, kind, labels, meaning.
//!
//! Recording happens where things happen; here is only what they are called. The edge renders the
//! table and takes the histograms' buckets from it. Next: `record.rs`.

use std::time::Duration;

use metrics::{Histogram, counter, gauge, histogram};
use tracing::{Span, trace_span};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations in seconds, in [`BUCKETS`].
    Histogram,
    /// Counts of things, in [`SIZE_BUCKETS`].
    Sizes,
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

/// Upper bounds of the buckets of sizes: from one choice to the longest context.
pub const SIZE_BUCKETS: &[f64] = &[
    0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5,
    2e5, 5e5, 1e6,
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
    REQUESTS Counter "gimbal_requests_total" "model, lane, finish"
        "Continuations that ended, by finish reason."
    REFUSED Counter "gimbal_refused_total" "model, reason"
        "Requests that were not admitted, by reason."
    CANCELLED Counter "gimbal_cancelled_total" "model" "Requests whose client went away."
    TOKENS Counter "gimbal_tokens_total" "model, lane, kind = prompt | cached | output"
        "Tokens of admitted requests."
    TTFT Histogram "gimbal_ttft_seconds" "model, lane" "From the request's arrival to its first token."
    ITL Histogram "gimbal_itl_seconds" "model, lane" "Between two tokens of a continuation."
    E2E Histogram "gimbal_e2e_seconds" "model, lane"
        "From the request's arrival to the end of a continuation."
    QUEUE Histogram "gimbal_queue_seconds" "model, lane"
        "From the request's arrival to its first step."
    INFERENCE Histogram "gimbal_inference_seconds" "model, lane"
        "From a request's first step to the last token of a continuation."
    PREFILL Histogram "gimbal_prefill_seconds" "model, lane"
        "From a request's first step to the first token of a continuation."
    DECODE Histogram "gimbal_decode_seconds" "model, lane"
        "From the first token of a continuation to its last."
    TPOT Histogram "gimbal_tpot_seconds" "model, lane"
        "The mean time between two tokens, of each continuation."
    REQUEST_PROMPT Sizes "gimbal_request_prompt_tokens" "model, lane"
        "Tokens of the prompt, of each continuation that ended."
    REQUEST_OUTPUT Sizes "gimbal_request_output_tokens" "model, lane"
        "Tokens generated, of each continuation that ended."
    REQUEST_LONGEST Sizes "gimbal_request_output_max_tokens" "model, lane"
        "Tokens of the longest continuation, of each request that ended."
    REQUEST_LIMIT Sizes "gimbal_request_limit_tokens" "model, lane"
        "Tokens that were asked for at most, of each continuation that ended."
    REQUEST_CHOICES Sizes "gimbal_request_choices" "model, lane"
        "Continuations that were asked for, of each request that ended."
    REQUEST_PREEMPTIONS Sizes "gimbal_request_preemptions" "model, lane"
        "How often its sequences were preempted, of each request that ended."
    STEP_TOKENS Sizes "gimbal_step_tokens" "model, lane"
        "Tokens that a step brought: prompts that were done, and output."
    STEP Histogram "gimbal_step_seconds" "model, lane" "From submitting a step to its outcome."
    STATION Histogram "gimbal_station_seconds" "station"
        "Time spent at one of the eight stations (see `Station`)."
    KV_BLOCKS Gauge "gimbal_kv_blocks" "model, lane, state = used | cached | free"
        "Blocks of the KV cache."
    KV_INFO Gauge "gimbal_kv_info"
        "model, lane, block_tokens, blocks, tokens, sequences, prefix_cache"
        "1 while the lane lives; the labels are what the KV cache holds, and how many of the longest sequences."
    SLOTS_USED Gauge "gimbal_slots_used" "model, lane" "Sequence slots in use."
    RUNNING Gauge "gimbal_running" "model, lane" "Sequences in the rolling batch."
    WAITING Gauge "gimbal_waiting" "model, lane" "Requests in the queue."
    STEPS Counter "gimbal_steps_total" "model, lane" "Steps scheduled."
    ROWS Counter "gimbal_rows_total" "model, lane, kind = prefill | decode" "Rows computed."
    PADDING Counter "gimbal_padding_rows_total" "model, lane"
        "Rows of compiled shapes that no sequence had."
    SHAPES Counter "gimbal_shape_steps_total"
        "model, lane, shape = SEQUENCESxROWSxCONTEXT, fit = exact | padded"
        "Steps by the compiled shape that they took, where a device has such."
    DRAFTS Counter "gimbal_draft_tokens_total" "model, lane, kind = proposed | accepted"
        "Guessed tokens that were computed, and those of them that were right."
    PREEMPTIONS Counter "gimbal_preemptions_total" "model, lane"
        "Sequences preempted for lack of blocks."
    TURNS Counter "gimbal_turns_total" "model, lane"
        "Seats given up for somebody with a better claim."
    ROW_FAULTS Counter "gimbal_row_faults_total" "model, lane" "Rows that failed alone."
    LOSSES Counter "gimbal_device_losses_total" "model, lane" "Devices lost and opened again."
    RESTARTS Counter "gimbal_engine_restarts_total" "model, lane"
        "Bugs that cost the requests of a lane."
    INFO Gauge "gimbal_info" "version, model, backend" "1 while the model is loaded."
    LANE_INFO Gauge "gimbal_lane_info" "model, lane, rank, device"
        "1 while the lane lives; the labels are its devices, by their stable ids."
    DEVICE_MEMORY Gauge "gimbal_device_memory_bytes" "platform, device" "Memory the device has."
    DEVICE_MEMORY_USED Gauge "gimbal_device_memory_used_bytes" "platform, device"
        "Memory of the device in use, by anybody."
    DEVICE_LOAD Gauge "gimbal_device_load_ratio" "platform, device"
        "Share of the last seconds in which the device computed, from 0 to 1."
    DEVICE_TEMPERATURE Gauge "gimbal_device_temperature_celsius" "platform, device"
        "The device's temperature, where it tells one."
    DEVICE_ERRORS Counter "gimbal_device_errors_total" "platform, device"
        "Errors the device told of and could not correct since it was started, where it counts them."
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
            Kind::Histogram | Kind::Sizes => metrics::describe_histogram!(meter.name, meter.doc),
        }
        // What has no labels is there from the beginning.
        match meter.kind {
            Kind::Counter if meter.labels.is_empty() => counter!(meter.name).increment(0),
            Kind::Gauge if meter.labels.is_empty() => gauge!(meter.name).increment(0.0),
            _ => {}
        }
    }
    for station in Station::ALL {
        // Registers it.
        drop(station.histogram());
    }
}

/// A request was not admitted.
pub(crate) fn note_refusal(model: &str, reason: &'static str) {
    counter!(REFUSED, "model" => model.to_owned(), "reason" => reason).increment(1);
}

const HEAD: &str = "\
# Metrics

Written from the table in `src/meters.rs`; do not edit. They are told at `GET /metrics` in
Prometheus' text format; `metrics_alias: vllm` adds vLLM's names of the same series. Histograms are
in seconds, sizes in what their name says.
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
    /// All, in order.
    const ALL: [Self; 8] = [
        Self::Parse,
        Self::Tokenize,
        Self::Admit,
        Self::Schedule,
        Self::Submit,
        Self::Collect,
        Self::Commit,
        Self::Stream,
    ];

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
                Kind::Gauge | Kind::Sizes => "",
            };
            assert!(meter.name.starts_with("gimbal_"), "{}", meter.name);
            assert!(meter.name.ends_with(suffix), "{}", meter.name);
            assert!(meter.doc.ends_with('.'), "{}", meter.name);
            assert!(TABLE[..i].iter().all(|m| m.name != meter.name), "{}", meter.name);
        }
    }
}
