//! The one clock: microseconds since the process's engine was made.
//!
//! Everything below the engine gets time as an argument. Next: `gate.rs`.

use std::time::{Duration, Instant};

use gimbal_scheduler::Micros;

/// A monotonic clock; clones tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts at 0.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time.
    #[must_use]
    pub fn now(self) -> Micros {
        Micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The time after `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Micros {
        let more = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Micros(self.now().0.saturating_add(more))
    }
}

/// From `earlier` to `later`; zero if they are the other way round.
pub(crate) fn between(earlier: Micros, later: Micros) -> Duration {
    Duration::from_micros(later.0.saturating_sub(earlier.0))
}
