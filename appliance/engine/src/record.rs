//! What a lane records: the handles of its metrics.
//!
//! What they are called stands in `meters.rs`. Handles bind to the recorder that is installed when a
//! lane starts: install it first. Next: `lane.rs`.

use std::cell::RefCell;
use std::time::Duration;

use gimbal_batch::{Bucket, Limits, Part, Shape};
use gimbal_scheduler::{Micros, Policy, Stats};
use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use crate::clock::between;
use crate::lane::{LaneEvent, Times};
use crate::meters::{
    CANCELLED, DECODE, DRAFTS, E2E, INFERENCE, INFO, ITL, KV_BLOCKS, KV_INFO, LANE_INFO, LOSSES,
    PADDING, PREEMPTIONS, PREFILL, QUEUE, REFUSED, REQUEST_CHOICES, REQUEST_LIMIT, REQUEST_LONGEST,
    REQUEST_OUTPUT, REQUEST_PREEMPTIONS, REQUEST_PROMPT, REQUESTS, RESTARTS, ROW_FAULTS, ROWS,
    RUNNING, SHAPES, SLOTS_USED, STEP, STEP_TOKENS, STEPS, Station, TOKENS, TPOT, TTFT, TURNS,
    WAITING,
};
use crate::place::Place;
use crate::request::FinishReason;

/// Handles of one lane.
pub(crate) struct LaneMeters {
    labels: Vec<Label>,
    /// What was told last.
    told: RefCell<Stats>,
    kv_info: Gauge,
    blocks: [Gauge; 3],
    slots_used: Gauge,
    running: Gauge,
    waiting: Gauge,
    steps: Counter,
    rows: [Counter; 2],
    drafts: [Counter; 2],
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
    inference: Histogram,
    prefill: Histogram,
    decode: Histogram,
    tpot: Histogram,
    prompt: Histogram,
    output: Histogram,
    longest: Histogram,
    limit: Histogram,
    choices: Histogram,
    request_preemptions: Histogram,
    pub(crate) step_tokens: Histogram,
    pub(crate) schedule: Histogram,
    pub(crate) submit: Histogram,
    pub(crate) collect: Histogram,
    pub(crate) commit: Histogram,
}

impl LaneMeters {
    pub(crate) fn new(model: &str, lane: u16) -> Self {
        let labels = labels(model, lane);
        let count = |name: &'static str| counter!(name, labels.clone());
        let spread = |name: &'static str| histogram!(name, labels.clone());
        let level = |name: &'static str| gauge!(name, labels.clone());
        let with = |key, value| {
            let mut labels = labels.clone();
            labels.push(Label::new(key, value));
            labels
        };
        let blocks = |state: &'static str| gauge!(KV_BLOCKS, with("state", state));
        let rows = |kind: &'static str| counter!(ROWS, with("kind", kind));
        // Reasons that did not come yet are told as zero, so that rates begin with the first.
        for finish in FinishReason::NAMES {
            counter!(REQUESTS, with("finish", finish)).increment(0);
        }
        counter!(CANCELLED, "model" => model.to_owned()).increment(0);
        let queue_full = [("model", model.to_owned()), ("reason", "queue_full".to_owned())];
        counter!(REFUSED, &queue_full).increment(0);
        Self {
            labels: labels.clone(),
            told: RefCell::default(),
            kv_info: Gauge::noop(),
            blocks: ["used", "cached", "free"].map(blocks),
            slots_used: level(SLOTS_USED),
            running: level(RUNNING),
            waiting: level(WAITING),
            steps: count(STEPS),
            rows: ["prefill", "decode"].map(rows),
            drafts: ["proposed", "accepted"].map(|kind| counter!(DRAFTS, with("kind", kind))),
            preemptions: count(PREEMPTIONS),
            turns: count(TURNS),
            row_faults: count(ROW_FAULTS),
            losses: count(LOSSES),
            restarts: count(RESTARTS),
            step: spread(STEP),
            tokens: ["prompt", "cached", "output"].map(|kind| counter!(TOKENS, with("kind", kind))),
            ttft: spread(TTFT),
            itl: spread(ITL),
            e2e: spread(E2E),
            queue: spread(QUEUE),
            inference: spread(INFERENCE),
            prefill: spread(PREFILL),
            decode: spread(DECODE),
            tpot: spread(TPOT),
            prompt: spread(REQUEST_PROMPT),
            output: spread(REQUEST_OUTPUT),
            longest: spread(REQUEST_LONGEST),
            limit: spread(REQUEST_LIMIT),
            choices: spread(REQUEST_CHOICES),
            request_preemptions: spread(REQUEST_PREEMPTIONS),
            step_tokens: spread(STEP_TOKENS),
            schedule: Station::Schedule.histogram(),
            submit: Station::Submit.histogram(),
            collect: Station::Collect.histogram(),
            commit: Station::Commit.histogram(),
        }
    }

    /// Says how large the KV cache is.
    pub(crate) fn note_kv(&mut self, limits: &Limits, policy: &Policy, model_len_max: u32) {
        let tokens = u64::from(limits.kv.blocks) * u64::from(limits.kv.block_tokens);
        let mut labels = self.labels.clone();
        labels.extend([
            Label::new("block_tokens", limits.kv.block_tokens.to_string()),
            Label::new("blocks", limits.kv.blocks.to_string()),
            Label::new("tokens", tokens.to_string()),
            Label::new("sequences", (tokens / u64::from(model_len_max.max(1))).to_string()),
            Label::new("prefix_cache", policy.prefix_cache.to_string()),
        ]);
        // What it was before, if it came back with other limits, is over.
        self.kv_info.set(0.0);
        self.kv_info = gauge!(KV_INFO, labels);
        self.kv_info.set(1.0);
    }

    /// Notes what an event says about latency and tokens; gives the tokens that it brought.
    pub(crate) fn note(&self, times: &mut Times, event: &LaneEvent, now: Micros) -> u32 {
        match event {
            LaneEvent::Started { cached_tokens, waited } => {
                let until_admitted = between(times.arrived, times.admitted);
                self.queue.record(until_admitted + Duration::from_micros(waited.0));
                times.scheduled = Some(Micros(times.admitted.0.saturating_add(waited.0)));
                self.tokens[0].increment(u64::from(times.prompt_tokens));
                self.tokens[1].increment(u64::from(*cached_tokens));
            }
            LaneEvent::Finished { choice, .. } => self.note_end(times, *choice, now),
            LaneEvent::Token { choice, finish, .. } => {
                let is_first = times.choices.iter().all(|choice| choice.tokens == 0);
                self.note_token(times, *choice, now);
                if finish.is_some() {
                    self.note_end(times, *choice, now);
                }
                return 1 + if is_first { times.prompt_tokens } else { 0 };
            }
            _ => {}
        }
        0
    }

    fn note_token(&self, times: &mut Times, choice: u16, now: Micros) {
        self.tokens[2].increment(1);
        let Some(choice) = times.choices.get_mut(usize::from(choice)) else { return };
        choice.tokens += 1;
        choice.first.get_or_insert(now);
        match choice.newest.replace(now) {
            Some(before) => self.itl.record(between(before, now)),
            None => self.ttft.record(between(times.arrived, now)),
        }
    }

    /// A continuation ended.
    fn note_end(&self, times: &Times, choice: u16, now: Micros) {
        self.e2e.record(between(times.arrived, now));
        let Some(choice) = times.choices.get(usize::from(choice)) else { return };
        self.prompt.record(times.prompt_tokens);
        self.output.record(choice.tokens);
        self.limit.record(times.max_new_tokens);
        let (Some(scheduled), Some(first), Some(last)) =
            (times.scheduled, choice.first, choice.newest)
        else {
            return;
        };
        self.inference.record(between(scheduled, last));
        self.prefill.record(between(scheduled, first));
        let decode = between(first, last);
        self.decode.record(decode);
        if choice.tokens > 1 {
            self.tpot.record(decode / (choice.tokens - 1));
        }
    }

    /// A request ended, with all of its continuations.
    pub(crate) fn note_request(&self, times: &Times) {
        let longest = times.choices.iter().map(|choice| choice.tokens).max();
        self.longest.record(longest.unwrap_or(0));
        self.choices.record(u32::try_from(times.choices.len()).unwrap_or(u32::MAX));
        self.request_preemptions.record(times.preemptions);
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
        // A model that was unloaded and is loaded again counts on where its series stand.
        let told = self.told.replace(*stats);
        for (counter, now, before) in [
            (&self.steps, stats.steps, told.steps),
            (&self.rows[0], stats.prefill_tokens, told.prefill_tokens),
            (&self.rows[1], stats.decode_tokens, told.decode_tokens),
            (&self.drafts[0], stats.drafts_proposed, told.drafts_proposed),
            (&self.drafts[1], stats.drafts_accepted, told.drafts_accepted),
            (&self.preemptions, stats.preemptions, told.preemptions),
            (&self.turns, stats.turns, told.turns),
            (&self.row_faults, stats.row_faults, told.row_faults),
            (&self.losses, stats.losses, told.losses),
        ] {
            // A scheduler that was made anew after a bug begins at zero.
            counter.increment(now.checked_sub(before).unwrap_or(now));
        }
    }

    /// Notes which compiled shape a step takes, where the device has such.
    pub(crate) fn note_shape(&self, shape: &Shape, parts: &[Part]) {
        let Shape::Buckets(buckets) = shape else { return };
        let Some(bucket) = Bucket::smallest(buckets, parts) else { return };
        let padding = bucket.rows() - parts.iter().map(|part| part.rows).sum::<u32>();
        let fit = if padding == 0 { "exact" } else { "padded" };
        let Bucket { sequences, rows_each, context } = bucket;
        let mut labels = self.labels.clone();
        labels.push(Label::new("shape", format!("{sequences}x{rows_each}x{context}")));
        labels.push(Label::new("fit", fit));
        counter!(SHAPES, labels).increment(1);
        counter!(PADDING, self.labels.clone()).increment(padding.into());
    }

    /// The lane is over: nothing of it is used any more, nor free.
    pub(crate) fn end(&self) {
        let levels = self.blocks.iter().chain([&self.slots_used, &self.running, &self.waiting]);
        levels.chain([&self.kv_info]).for_each(|gauge| gauge.set(0.0));
    }
}

/// The labels of everything that a lane says.
pub(crate) fn labels(model: &str, lane: u16) -> Vec<Label> {
    vec![Label::new("model", model.to_owned()), Label::new("lane", lane.to_string())]
}

/// Says on what a model runs: 1 while it does, 0 when it is gone.
pub(crate) fn note_place(model: &str, place: &Place, level: f64) {
    let Place { version, platform, .. } = place;
    let model = || model.to_owned();
    let labels = [("version", version.clone()), ("model", model()), ("backend", platform.clone())];
    gauge!(INFO, &labels).set(level);
    for (lane, devices) in place.lanes.iter().enumerate() {
        for (rank, device) in devices.iter().enumerate() {
            let labels = [
                ("model", model()),
                ("lane", lane.to_string()),
                ("rank", rank.to_string()),
                ("device", device.clone()),
            ];
            gauge!(LANE_INFO, &labels).set(level);
        }
    }
}
