//! How fast the device has been: what a refusal by deadline rests on.
//!
//! Next: `admission.rs`.

use crate::request::Micros;

/// A running mean of the time of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    step_us: u64,
    newest_commit: Micros,
}

impl Pace {
    /// Notes a step. With two in flight, the second one's time begins when the first one ends.
    pub(crate) fn observe(&mut self, scheduled: Micros, committed: Micros) {
        let begin = scheduled.max(self.newest_commit);
        let took = committed.0.saturating_sub(begin.0);
        self.newest_commit = committed;
        // An eighth of the newest: a single slow step moves the mean little, a changed load is
        // seen within a score of steps.
        self.step_us = if self.step_us == 0 { took } else { (7 * self.step_us + took) / 8 };
    }

    /// When `steps` more steps will be done.
    pub(crate) fn after(&self, now: Micros, steps: u64) -> Micros {
        Micros(now.0.saturating_add(self.step_us.saturating_mul(steps)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_steps_are_not_counted_twice() {
        let mut pace = Pace::default();
        pace.observe(Micros(0), Micros(80));
        pace.observe(Micros(10), Micros(160));
        assert_eq!(pace.after(Micros(1000), 2), Micros(1160));
        pace.observe(Micros(160), Micros(320));
        assert_eq!(pace.after(Micros(0), 1), Micros(90));
    }
}
