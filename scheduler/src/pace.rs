//! How fast the device has been: what refusals by deadline and the length of a step rest on.
//!
//! Next: `admission.rs`.

use crate::request::Micros;

/// Prompt rows beside decode rows before anything was measured: few enough for a first step on any
/// device, and doubled with every full step that was quick.
const PROMPT_ROWS_FIRST: u32 = 512;

/// Measured times of steps, and what follows from them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// A running mean.
    step_us: u64,
    newest_commit: Micros,
    /// A running mean of the time between two ends while somebody waits for a seat.
    end_us: u64,
    newest_end: Option<Micros>,
    /// Prompt rows a step may have beside decode rows.
    prompt_rows: u32,
    prompt_rows_min: u32,
    prompt_rows_max: u32,
    line: Line,
}

impl Pace {
    pub(crate) fn new(prompt_rows_min: u32, prompt_rows_max: u32) -> Self {
        let prompt_rows = PROMPT_ROWS_FIRST.clamp(prompt_rows_min, prompt_rows_max);
        Self {
            step_us: 0,
            newest_commit: Micros(0),
            end_us: 0,
            newest_end: None,
            prompt_rows,
            prompt_rows_min,
            prompt_rows_max,
            line: Line::default(),
        }
    }

    /// Notes a step and says how long it took. With two in flight, the second one's time begins
    /// when the first one ends.
    pub(crate) fn observe(&mut self, scheduled: Micros, committed: Micros) -> Micros {
        let begin = scheduled.max(self.newest_commit);
        let took = committed.0.saturating_sub(begin.0);
        self.newest_commit = committed;
        self.step_us = mean(self.step_us, took);
        Micros(took)
    }

    /// Notes that `count` sequences left the batch; only times with a queue say how fast seats
    /// become free.
    pub(crate) fn observe_ends(&mut self, count: u32, is_queue: bool, now: Micros) {
        if let Some(before) = self.newest_end {
            let each = now.0.saturating_sub(before.0) / u64::from(count.max(1));
            self.end_us = mean(self.end_us, each);
        }
        self.newest_end = is_queue.then_some(now);
    }

    /// When `seats` more seats of the batch will have become free.
    pub(crate) fn seated(&self, now: Micros, seats: u64) -> Micros {
        Micros(now.0.saturating_add(self.end_us.saturating_mul(seats)))
    }

    /// The mean time of a step, lately.
    pub(crate) fn step_us(&self) -> u64 {
        self.step_us
    }

    /// When `steps` more steps will be done.
    pub(crate) fn after(&self, now: Micros, steps: u64) -> Micros {
        Micros(now.0.saturating_add(self.step_us.saturating_mul(steps)))
    }

    /// Notes how long a step of so many rows took that had no prompts.
    pub(crate) fn learn(&mut self, rows: u32, took: Micros) {
        self.line.add(f64::from(rows), took.0 as f64);
    }

    /// What a row more costs a step of `rows` rows that brings `tokens` tokens: the chance of another
    /// token that makes up for it.
    ///
    /// A step of time `t` brings `tokens` tokens; with a row more, which takes `r` and brings a token
    /// with chance `q`, it brings tokens faster if `(tokens + q) / (t + r) > tokens / t`.
    pub(crate) fn row_price(&self, tokens: u32, rows: u32) -> f64 {
        let (fixed, each) = self.line.fit();
        f64::from(tokens) * each / (fixed + each * f64::from(rows))
    }

    /// Prompt rows a step may have beside decode rows.
    pub(crate) fn prompt_rows(&self) -> u32 {
        self.prompt_rows
    }

    /// Brings the prompt rows nearer to what fits `target`, after a step with `rows` of them.
    ///
    /// A step takes a fixed time and a time for each row, so scaling by target over time comes
    /// ever closer to the right number without knowing either. One step changes it at most by two.
    pub(crate) fn aim(&mut self, rows: u32, took: Micros, target: Micros) {
        let is_full = rows >= self.prompt_rows;
        if took <= target && !is_full {
            return;
        }
        let fits = u64::from(rows).saturating_mul(target.0) / took.0.max(1);
        let fits = u32::try_from(fits).unwrap_or(u32::MAX);
        let near = fits.clamp(self.prompt_rows / 2, self.prompt_rows.saturating_mul(2));
        self.prompt_rows = near.clamp(self.prompt_rows_min, self.prompt_rows_max);
    }
}

/// A line through the times of steps by their rows; old ones fade.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    weight: f64,
    rows: f64,
    took: f64,
    rows_rows: f64,
    rows_took: f64,
}

impl Line {
    /// What is left of a step's weight at the next one: the newest hundred decide.
    const FADE: f64 = 1.0 - 1.0 / 64.0;
    /// A step's fixed time is that of so many rows, until steps of several sizes were seen: a CPU
    /// with a model of any size does not do worse.
    const FIXED_ROWS: f64 = 8.0;

    fn add(&mut self, rows: f64, took: f64) {
        // A machine that stood still says nothing of rows.
        let (fixed, each) = self.fit();
        let most = if self.weight > 8.0 { 2.0 * (fixed + each * rows) } else { f64::MAX };
        let took = took.min(most);
        for (sum, newest) in [
            (&mut self.weight, 1.0),
            (&mut self.rows, rows),
            (&mut self.took, took),
            (&mut self.rows_rows, rows * rows),
            (&mut self.rows_took, rows * took),
        ] {
            *sum = *sum * Self::FADE + newest;
        }
    }

    /// The time of a step without rows, and of each row.
    fn fit(&self) -> (f64, f64) {
        if self.took <= 0.0 {
            return (Self::FIXED_ROWS, 1.0);
        }
        let (rows, took) = (self.rows / self.weight, self.took / self.weight);
        let spread = self.rows_rows / self.weight - rows * rows;
        let each = match spread > 0.01 {
            true => (self.rows_took / self.weight - rows * took) / spread,
            false => took / (Self::FIXED_ROWS + rows),
        };
        let each = each.clamp(0.0, took / rows);
        (took - each * rows, each)
    }
}

/// An eighth of the newest: a single slow step moves the mean little, a changed load is seen
/// within a score of steps.
fn mean(mean: u64, newest: u64) -> u64 {
    if mean == 0 { newest } else { (7 * mean + newest) / 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_steps_are_not_counted_twice() {
        let mut pace = Pace::new(1, 1);
        assert_eq!(pace.observe(Micros(0), Micros(80)), Micros(80));
        assert_eq!(pace.observe(Micros(10), Micros(160)), Micros(80));
        assert_eq!(pace.after(Micros(1000), 2), Micros(1160));
        pace.observe(Micros(160), Micros(320));
        assert_eq!(pace.after(Micros(0), 1), Micros(90));
    }

    #[test]
    fn seats_are_timed_while_somebody_waits() {
        let mut pace = Pace::new(1, 1);
        pace.observe_ends(1, false, Micros(100));
        pace.observe_ends(1, true, Micros(10_000));
        assert_eq!(pace.seated(Micros(0), 9), Micros(0), "nothing is known yet");
        pace.observe_ends(2, true, Micros(10_200));
        assert_eq!(pace.seated(Micros(50), 3), Micros(350));
    }

    #[test]
    fn a_row_costs_what_steps_of_several_sizes_say() {
        let mut pace = Pace::new(1, 1);
        let is = |pace: &Pace, tokens, rows, price: f64| {
            (pace.row_price(tokens, rows) - price).abs() < 1e-3
        };
        assert!(is(&pace, 1, 1, 1.0 / 9.0), "before anything was measured");
        let took = |rows: u32| Micros(4000 + 500 * u64::from(rows));
        (0..100).for_each(|_| pace.learn(1, took(1)));
        assert!(is(&pace, 1, 1, 1.0 / 9.0), "one size says nothing of rows");
        for rows in (1..9).cycle().take(100) {
            pace.learn(rows, took(rows));
        }
        assert!(is(&pace, 1, 1, 500.0 / 4500.0) && is(&pace, 8, 8, 4000.0 / 8000.0), "{pace:?}");
        assert!(is(&pace, 32, 32, 0.8) && is(&pace, 8, 40, 4000.0 / 24000.0), "{pace:?}");
        pace.learn(1, Micros(60_000_000));
        assert!((pace.row_price(1, 1) - 0.111).abs() < 0.03, "a pause is no row: {pace:?}");
    }

    #[test]
    fn prompt_rows_come_to_fit_the_target() {
        // 10 ms a step and 0.1 ms a row: 400 rows fit 50 ms.
        let mut pace = Pace::new(16, 8192);
        let took = |rows: u32| Micros(10_000 + 100 * u64::from(rows));
        for _ in 0..30 {
            let rows = pace.prompt_rows();
            pace.aim(rows, took(rows), Micros(50_000));
        }
        assert!((390..=400).contains(&pace.prompt_rows()), "{pace:?}");
        pace.aim(40, took(40), Micros(50_000));
        assert!(pace.prompt_rows() >= 390, "a step that was not full says nothing");
        for _ in 0..30 {
            pace.aim(pace.prompt_rows(), took(pace.prompt_rows()), Micros(5_000));
        }
        assert_eq!(pace.prompt_rows(), 16, "prompts go on when the target cannot be met");
    }
}
