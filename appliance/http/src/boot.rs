//! What the process tells about itself: who it is, and how long its boot took.
//!
//! Handed in by whoever boots; the edge measures only the phases. Next: `status.rs`.

use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

/// Facts of a process. Empty is unknown yet.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Version of the binary.
    pub version: String,
    /// Short name of all settings' values.
    pub settings_hash: String,
}

/// How long the boot took.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Boot {
    /// In order; the running one until now.
    phases: Vec<BootPhase>,
    /// All phases together; null until it is ready.
    #[schema(required = true)]
    ready_ms: Option<f64>,
}

/// One phase of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BootPhase {
    phase: String,
    ms: f64,
}

/// When each phase of the boot began, and when the last one was over.
#[derive(Debug)]
pub(crate) struct Timeline {
    phases: Vec<(String, Instant)>,
    ready: Option<Instant>,
}

impl Timeline {
    /// Begins with a phase.
    pub(crate) fn start(phase: &str) -> Self {
        Self { phases: vec![(phase.to_owned(), Instant::now())], ready: None }
    }

    /// The next phase begins; news of a running one change nothing.
    pub(crate) fn enter(&mut self, phase: &str) {
        let is_new = self.phases.last().is_none_or(|(newest, _)| newest != phase);
        if is_new && self.ready.is_none() {
            self.phases.push((phase.to_owned(), Instant::now()));
        }
    }

    /// The boot is over.
    pub(crate) fn end(&mut self) {
        self.ready.get_or_insert_with(Instant::now);
    }

    /// Every phase with its milliseconds, the running one until now.
    pub(crate) fn told(&self) -> Boot {
        let until = self.ready.unwrap_or_else(Instant::now);
        let ends = self.phases.iter().skip(1).map(|(_, from)| *from).chain([until]);
        let phases = self.phases.iter().zip(ends);
        let phase = |((phase, from), to): (&(String, Instant), Instant)| BootPhase {
            phase: phase.clone(),
            ms: ms(*from, to),
        };
        let first = self.phases.first().map(|(_, from)| *from);
        let ready = self.ready.zip(first).map(|(ready, first)| ms(first, ready));
        Boot { phases: phases.map(phase).collect(), ready_ms: ready }
    }
}

/// Milliseconds with one digit after the point: some phases take less than one.
fn ms(from: Instant, to: Instant) -> f64 {
    let ms = to.saturating_duration_since(from).as_secs_f64() * 1e3;
    (ms * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_until_it_is_ready() {
        let mut timeline = Timeline::start("listen");
        timeline.enter("open");
        timeline.enter("open");
        assert_eq!(timeline.told().ready_ms, None);
        timeline.end();
        timeline.enter("late");
        let told = timeline.told();
        assert!(told.phases.iter().all(|phase| phase.phase != "late"));
        let sum: f64 = told.phases.iter().map(|phase| phase.ms).sum();
        let ready = told.ready_ms.expect("it is ready");
        // Each of two phases is rounded by at most 0.05.
        assert!((sum - ready).abs() <= 0.16, "{told:?}");
    }
}
