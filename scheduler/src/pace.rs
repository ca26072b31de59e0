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
