//! What users felt, and what it cost.
//!
//! Next: `plot.rs`.

use std::collections::BTreeMap;
use std::fmt::Write;

use gimbal_batch::{Batch, Bucket, Shape, TokenId};
use gimbal_neuron::compile::name;
use gimbal_scheduler::{Micros, Stats};

/// What a user accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until the first token.
    pub(super) first_token: Micros,
    /// Between two tokens; one in a hundred may be longer.
    pub(super) pause: Micros,
}

/// One request as its user saw it.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) arrived: Micros,
    pub(super) newest: Option<Micros>,
    pub(super) first_token_us: u64,
    pub(super) pauses: u32,
    pub(super) long_pauses: u32,
    pub(super) tokens: Vec<TokenId>,
    pub(super) finished: bool,
}

/// Everything measured in a run.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) first_token_us: Vec<u64>,
    pub(super) pause_us: Vec<u64>,
    pub(super) wait_us: Vec<u64>,
    pub(super) good: u64,
    pub(super) offered: u64,
    pub(super) refused: u64,
    pub(super) rows: u64,
    /// With those that only pad.
    pub(super) rows_paid: u64,
    /// Steps by the compiled shape that computed them.
    pub(super) buckets: BTreeMap<Bucket, u64>,
    pub(super) busy_us: u64,
}

impl Meter {
    /// Notes what a step computes.
    pub(super) fn step(&mut self, batch: &Batch, shape: &Shape) {
        let rows = batch.tokens.len() as u64;
        self.rows += rows;
        let Shape::Buckets(buckets) = shape else {
            self.rows_paid += rows;
            return;
        };
        let bucket = Bucket::smallest(buckets, &batch.parts).expect("a legal step fits a bucket");
        self.rows_paid += u64::from(bucket.rows());
        *self.buckets.entry(bucket).or_default() += 1;
    }

    /// Notes a token.
    pub(super) fn token(&mut self, client: &mut Client, now: Micros, limits: Limits) {
        match client.newest.replace(now) {
            None => {
                client.first_token_us = now.0 - client.arrived.0;
                self.first_token_us.push(client.first_token_us);
            }
            Some(before) => {
                let pause = now.0 - before.0;
                self.pause_us.push(pause);
                client.pauses += 1;
                client.long_pauses += u32::from(pause > limits.pause.0);
            }
        }
    }

    /// Notes an end: good if the first token came in time and 99 of 100 pauses were short.
    pub(super) fn finished(&mut self, client: &mut Client, limits: Limits) {
        client.finished = true;
        let in_time = client.first_token_us <= limits.first_token.0;
        let smooth = client.long_pauses * 100 <= client.pauses;
        self.good += u64::from(in_time && smooth);
    }

    /// Sums up.
    pub(super) fn report(
        mut self,
        policy: &'static str,
        rate: f64,
        end: Micros,
        stats: Stats,
    ) -> Report {
        let seconds = Micros(end.0.max(1)).0 as f64 / 1e6;
        for samples in [&mut self.first_token_us, &mut self.pause_us, &mut self.wait_us] {
            samples.sort_unstable();
        }
        Report { policy, rate, seconds, meter: self, stats }
    }
}

/// A run, summed up.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) policy: &'static str,
    pub(super) rate: f64,
    pub(super) seconds: f64,
    pub(super) meter: Meter,
    pub(super) stats: Stats,
}

impl Report {
    pub(super) const HEADER: &'static str = concat!(
        "policy      rate/s |  good/s  good% | first token ms  | pause ms       | wait ms         |",
        " tokens/s preempt padding cached busy\n",
        "                   |                |     p50     p99 |    p50    p99  |     p50     p99 |",
    );

    /// Good requests a second.
    pub(super) fn goodput(&self) -> f64 {
        self.meter.good as f64 / self.seconds
    }

    /// One line of the table.
    pub(super) fn line(&self) -> String {
        let Meter { first_token_us, pause_us, wait_us, good, offered, .. } = &self.meter;
        let prompt = self.stats.prefill_tokens + self.stats.prefix_hit_tokens;
        let mut line = format!("{:11} {:6.2} |", self.policy, self.rate);
        let share = |part: u64, all: u64| 100.0 * part as f64 / all.max(1) as f64;
        let written = [
            write!(line, " {:7.2} {:6.1} |", self.goodput(), share(*good, *offered)),
            write!(line, " {:7.0} {:7.0} |", at(first_token_us, 50), at(first_token_us, 99)),
            write!(line, " {:6.1} {:6.1}  |", at(pause_us, 50), at(pause_us, 99)),
            write!(line, " {:7.0} {:7.0} |", at(wait_us, 50), at(wait_us, 99)),
            write!(line, " {:8.0}", self.stats.output_tokens as f64 / self.seconds),
            write!(line, " {:7}", self.stats.preemptions),
            write!(line, " {:6.1}%", 100.0 - share(self.meter.rows, self.meter.rows_paid)),
            write!(line, " {:5.1}%", share(self.stats.prefix_hit_tokens, prompt)),
            write!(line, " {:3.0}%", self.meter.busy_us as f64 / 1e4 / self.seconds),
        ];
        assert!(written.iter().all(Result::is_ok), "a string takes everything");
        line
    }

    /// What compiled shapes were used for, if there are any.
    pub(super) fn buckets(&self) -> Option<String> {
        let Meter { rows, rows_paid, buckets, .. } = &self.meter;
        let steps = buckets.iter().map(|(bucket, steps)| format!(" {}: {steps}", name(*bucket)));
        let steps: Vec<String> = steps.collect();
        let padded = rows_paid - rows;
        (!steps.is_empty())
            .then(|| format!("  padded rows: {padded} of {rows_paid}; steps:{}", steps.join(",")))
    }
}

/// A percentile of sorted microseconds, in milliseconds.
pub(super) fn at(sorted: &[u64], percent: usize) -> f64 {
    match sorted.len() {
        0 => 0.0,
        count => sorted[(count - 1) * percent / 100] as f64 / 1e3,
    }
}
