//! How long the cutting of one text may take, in time of its own thread.
//!
//! The expressions come with a model's files, and no count of their steps is a bound: one step may
//! read the whole text. Next: `json/patterns.rs`.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Builds that are not optimised take that many times longer.
const SLOWER: u32 = if cfg!(debug_assertions) { 4 } else { 1 };
/// For any text: a thousand times what its words need.
const BASE: Duration = Duration::from_millis(300);
/// For each byte more, where 5 MB/s is usual (0.2 µs).
const PER_BYTE: Duration = Duration::from_micros(2);

/// The patience for one text.
#[derive(Debug)]
pub(crate) struct Patience {
    /// When it began, once somebody has asked.
    began: Cell<Option<Duration>>,
    limit: Duration,
}

/// It is over.
#[derive(Debug, thiserror::Error)]
#[error("the tokenizer's pattern takes too long on this text")]
pub(crate) struct Over;

impl Patience {
    pub(crate) fn new(text_bytes: usize) -> Self {
        let bytes = u32::try_from(text_bytes).unwrap_or(u32::MAX);
        let limit = PER_BYTE.saturating_mul(bytes).saturating_add(BASE).saturating_mul(SLOWER);
        Self { began: Cell::new(None), limit }
    }

    /// Fails once it is over.
    pub(crate) fn check(&self) -> Result<(), Over> {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        let seconds = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0));
        let now = seconds + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0));
        let began = self.began.get().unwrap_or(now);
        self.began.set(Some(began));
        if now.saturating_sub(began) > self.limit { Err(Over) } else { Ok(()) }
    }
}
