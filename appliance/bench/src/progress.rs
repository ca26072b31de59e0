//! How far a bench is, on stderr, for a person who waits.
//!
//! It reads one counter and delays nobody. Next: `bench.rs`.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// Between two lines.
const INTERVAL: Duration = Duration::from_millis(250);
/// Back to the beginning of the line, and erase it.
const CLEAR: &str = "\r\x1b[K";

/// What is done of a bench.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    runs: u32,
    done: u32,
    began: Instant,
}

/// Shows one run until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticker(Option<JoinHandle<()>>);

impl Progress {
    pub(crate) fn new(runs: u32, is_shown: bool) -> Self {
        Self { is_shown, runs, done: 0, began: Instant::now() }
    }

    /// Shows the run that begins now.
    pub(crate) fn run(&mut self, name: &str, finished: &Arc<AtomicU32>) -> Ticker {
        let line = format!("[{}/{}] {name}", self.done + 1, self.runs);
        let eta = eta(self.began.elapsed(), self.done, self.runs);
        self.done += 1;
        if !self.is_shown {
            return Ticker(None);
        }
        let finished = Arc::clone(finished);
        Ticker(Some(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            loop {
                ticks.tick().await;
                let finished = finished.load(Ordering::Relaxed);
                show(&format!("{CLEAR}{line}: {finished} requests{eta}"));
            }
        })))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
            show(CLEAR);
        }
    }
}

/// A line that cannot be shown is no reason to end.
fn show(text: &str) {
    let mut out = std::io::stderr().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// The time the rest takes if runs go on as they did.
fn eta(elapsed: Duration, done: u32, runs: u32) -> String {
    if done == 0 {
        return String::new();
    }
    let left = elapsed.as_secs_f64() / f64::from(done) * f64::from(runs.saturating_sub(done));
    format!(", about {left:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_the_beginning() {
        assert_eq!(eta(Duration::from_secs(9), 0, 4), "");
        assert_eq!(eta(Duration::from_secs(9), 3, 4), ", about 3 s left");
    }
}
