//! Whether a model serves: what `/ping` says.
//!
//! Computed from what the lanes publish whenever somebody asks; there is no watchdog thread that
//! could itself hang. Next: `service.rs`.

use std::time::Duration;

use gimbal_scheduler::Micros;

use crate::clock::between;
use crate::lane::{Condition, LaneState};

/// Whether a model serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Serving,
    /// It ends.
    Draining,
    /// It does not, and why.
    Failing {
        /// In words, with numbers.
        why: String,
    },
}

/// What one lane's state means.
pub(crate) fn of_lane(state: &LaneState, now: Micros, watchdog: Duration) -> Health {
    let waited = between(state.progress, now);
    match &state.condition {
        Condition::Stopped { why } => Health::Failing { why: format!("the engine stopped: {why}") },
        _ if !state.pending || waited <= watchdog => Health::Serving,
        Condition::Reopening { why } => {
            let why = format!("the device is not open again after {} s: {why}", waited.as_secs());
            Health::Failing { why }
        }
        Condition::Running => Health::Failing {
            why: format!(
                "no step finished for {} s while {} sequences run and {} requests wait",
                waited.as_secs(),
                state.stats.running,
                state.stats.waiting
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: Condition, pending: bool, seconds: u64, expect: &str) {
        let state = LaneState {
            stats: gimbal_scheduler::Stats { running: 2, waiting: 3, ..Default::default() },
            condition,
            pending,
            progress: Micros(5),
            request_interval: Duration::ZERO,
            limits: crate::validation::tests::limits().into(),
            model_len_max: 1,
        };
        let health = of_lane(&state, Micros(5 + seconds * 1_000_000), Duration::from_secs(30));
        let said = match health {
            Health::Failing { why } => why,
            other => format!("{other:?}"),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn silence_is_a_failure_only_while_work_is_pending() {
        let stalled = "no step finished for 31 s while 2 sequences run and 3 requests wait";
        check(Condition::Running, true, 30, "Serving");
        check(Condition::Running, true, 31, stalled);
        check(Condition::Running, false, 3100, "Serving");
        let lost = || Condition::Reopening { why: "unplugged".into() };
        check(lost(), true, 1, "Serving");
        check(lost(), true, 31, "the device is not open again after 31 s: unplugged");
        let stopped = Condition::Stopped { why: "unplugged".into() };
        check(stopped, false, 0, "the engine stopped: unplugged");
    }
}
