"use strict";
// From the text of /metrics to figures. Nothing here knows the page.

/** Seconds of history that charts show. */
const HISTORY_S = 300;
/** Seconds over which latencies and shares are taken. */
const LATELY_S = 60;
/** Seconds over which rates are taken: one poll alone is noisy. */
const RATE_S = 5;

/** The exposition as name -> list of {labels, value}. */
function parseMetrics(text) {
  const series = new Map();
  for (const line of text.split("\n")) {
    const match = /^(gimbal_\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, key, value] of (match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[key] = value;
    }
    if (!series.has(match[1])) series.set(match[1], []);
    series.get(match[1]).push({ labels, value: Number(match[3]) });
  }
  return series;
}

/** The sum over all lanes and models with these labels; null where there is none. */
function total(series, name, labels = {}) {
  let sum = null;
  for (const one of series.get(name) ?? []) {
    const fits = Object.entries(labels).every(([key, value]) => one.labels[key] === value);
    if (fits) sum = (sum ?? 0) + one.value;
  }
  return sum;
}

/** Cumulative counts of a histogram as upper bound -> count. */
function histogram(series, name) {
  const buckets = new Map();
  for (const { labels, value } of series.get(`${name}_bucket`) ?? []) {
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    buckets.set(bound, (buckets.get(bound) ?? 0) + value);
  }
  return buckets;
}

/**
 * The q-quantile of what was added between two histograms, in seconds, linear inside its bucket;
 * null where nothing was.
 */
function quantile(before, after, q) {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const counts = bounds.map((bound) => after.get(bound) - (before.get(bound) ?? 0));
  const all = counts.at(-1) ?? 0;
  if (all <= 0) return null;
  const rank = q * all;
  const index = counts.findIndex((count) => count >= rank);
  const [low, high] = [index > 0 ? bounds[index - 1] : 0, bounds[index]];
  if (high === Infinity) return low;
  const below = index > 0 ? counts[index - 1] : 0;
  return low + ((high - low) * (rank - below)) / (counts[index] - below);
}

/** What one poll says. `at` is in seconds of a clock that never jumps. */
function sampleOf(series, at) {
  const tokens = (kind) => total(series, "gimbal_tokens_total", { kind });
  return {
    at,
    output: tokens("output"),
    prompt: tokens("prompt"),
    cached: tokens("cached"),
    running: total(series, "gimbal_running"),
    waiting: total(series, "gimbal_waiting"),
    ttft: histogram(series, "gimbal_ttft_seconds"),
    itl: histogram(series, "gimbal_itl_seconds"),
    step: histogram(series, "gimbal_step_seconds"),
  };
}

/** Samples of the last minute, and a point of every chart for each poll of the last minutes. */
class History {
  samples = [];
  points = [];

  /** Adds a poll and returns its point. */
  add(sample) {
    const newest = this.samples.at(-1);
    // Counters never fall: another process answers.
    if (newest && (sample.output ?? 0) < (newest.output ?? 0)) this.clear();
    this.samples.push(sample);
    const point = this.point(sample);
    this.points.push(point);
    const fresh = (age) => (one) => one.at >= sample.at - age;
    this.samples = this.samples.filter(fresh(LATELY_S + 1));
    this.points = this.points.filter(fresh(HISTORY_S + 1));
    return point;
  }

  clear() {
    this.samples = [];
    this.points = [];
  }

  /** The oldest sample that is no older than that. */
  since(sample, seconds) {
    return this.samples.find((one) => one.at >= sample.at - seconds) ?? sample;
  }

  /** The mean of a gauge from a sample on; one look a second at it is mostly noise. */
  mean(key, from) {
    const values = this.samples.slice(this.samples.indexOf(from)).map((one) => one[key]);
    if (values.includes(null)) return null;
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  }

  point(sample) {
    const [soon, lately] = [this.since(sample, RATE_S + 0.5), this.since(sample, LATELY_S)];
    const rate = (key) => {
      const span = sample.at - soon.at;
      if (span <= 0 || sample[key] === null) return null;
      return (sample[key] - (soon[key] ?? 0)) / span;
    };
    const at = (key, q) => quantile(lately[key], sample[key], q);
    const prompt = (sample.prompt ?? 0) - (lately.prompt ?? 0);
    const cached = (sample.cached ?? 0) - (lately.cached ?? 0);
    return {
      at: sample.at,
      output: rate("output"),
      prompt: rate("prompt"),
      running: sample.running,
      runningMean: this.mean("running", soon),
      waiting: sample.waiting,
      ttft50: at("ttft", 0.5),
      ttft95: at("ttft", 0.95),
      itl50: at("itl", 0.5),
      itl95: at("itl", 0.95),
      step50: at("step", 0.5),
      step95: at("step", 0.95),
      hits: prompt > 0 ? (100 * cached) / prompt : null,
    };
  }
}

/** 1,234 and 12.3: three digits are enough to see a change. */
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

/** A share as whole percents; a little is not nothing. */
function percent(share) {
  return share > 0 && share < 0.01 ? "<1 %" : `${Math.round(100 * share)} %`;
}

/** Bytes in the largest unit that leaves a whole number before the point. */
function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${number(value)} ${units[unit]}`;
}

/** Seconds as [number, unit]. */
function duration(seconds) {
  if (seconds === null || seconds === undefined) return ["–", ""];
  if (seconds < 0.001) return [number(seconds * 1e6), "µs"];
  if (seconds < 1) return [number(seconds * 1e3), "ms"];
  return [number(seconds), "s"];
}

/** A long time in its two largest units: 3 h 12 min. */
function longTime(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const parts = [];
  for (const [name, size] of units.slice(first, first + 2)) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0) parts.push(`${count} ${name}`);
  }
  return parts.join(" ");
}
