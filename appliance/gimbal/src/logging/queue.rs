//! Lines on their way to stderr: a bounded queue and one thread that writes.
//!
//! Whoever logs takes a lock for as long as a copy takes, and nothing else. A reader that is gone,
//! slow, or a disk that is full costs lines, which are counted and told once writing works again.
//! What stands in a line is not known here. Next: `../failure.rs`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gimbal_engine::meters::LOG_DROPPED;
use metrics::counter;
use tracing::warn;

/// Bytes that wait, at most: some ten thousand lines.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// Bytes of one line; the rest is cut off.
const LINE_BYTES_MAX: usize = 16 << 10;

/// What waits to be written.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something came, or everything is written.
    changed: Condvar,
}

struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines lost since this was told last.
    dropped: u64,
    /// The thread is writing what it took.
    is_writing: bool,
    has_thread: bool,
}

impl Queue {
    pub(super) const fn new() -> Self {
        let state = State {
            lines: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            is_writing: false,
            has_thread: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds a line, or drops it where too many wait.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.bytes + line.len() > WAITING_BYTES_MAX {
            state.dropped += 1;
            drop(state);
            counter!(LOG_DROPPED).increment(1);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        drop(state);
        self.changed.notify_all();
    }

    /// Starts the thread that writes. Where there can be none, lines are dropped.
    pub(super) fn start(&'static self) {
        let name = "log".to_owned();
        let started = std::thread::Builder::new().name(name).spawn(|| self.write_forever());
        self.lock().has_thread = started.is_ok();
    }

    /// Waits until everything is written, or for `at_most`.
    pub(super) fn flush(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut state = self.lock();
        while state.has_thread && (state.is_writing || !state.lines.is_empty()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write_forever(&self) {
        loop {
            let (lines, dropped) = self.take();
            let text = lines.iter().flatten().copied().collect::<Vec<u8>>();
            if io::stderr().write_all(&text).is_err() {
                let lost = lines.len() as u64;
                self.lock().dropped += dropped + lost;
                counter!(LOG_DROPPED).increment(lost);
            } else if dropped > 0 {
                warn!(
                    dropped,
                    "log lines were dropped: stderr was not read, or could not be written"
                );
            }
        }
    }

    /// Waits for lines and takes all; also how many were dropped since.
    fn take(&self) -> (VecDeque<Vec<u8>>, u64) {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        while state.lines.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writing = true;
        state.bytes = 0;
        (std::mem::take(&mut state.lines), std::mem::take(&mut state.dropped))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole whatever panicked: no line below can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line that is being written; it is handed over when dropped.
pub(super) struct Line<'q> {
    queue: &'q Queue,
    text: Vec<u8>,
}

impl<'q> Line<'q> {
    pub(super) fn of(queue: &'q Queue) -> Self {
        Self { queue, text: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE_BYTES_MAX.saturating_sub(self.text.len());
        self.text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.text.len() >= LINE_BYTES_MAX {
            self.text.truncate(LINE_BYTES_MAX - 1);
            self.text.push(b'\n');
        }
        self.queue.push(&self.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_is_bounded_and_counted() {
        let queue = Queue::new();
        for _ in 0..4 * WAITING_BYTES_MAX / LINE_BYTES_MAX {
            Line::of(&queue).write_all(&[b'x'; 2 * LINE_BYTES_MAX]).expect("never fails");
        }
        let (lines, dropped) = queue.take();
        assert_eq!(lines.len(), WAITING_BYTES_MAX / LINE_BYTES_MAX);
        assert_eq!(usize::try_from(dropped), Ok(3 * lines.len()));
        assert!(lines.iter().all(|line| line.len() == LINE_BYTES_MAX && line.ends_with(b"\n")));
    }

    #[test]
    fn without_a_thread_nobody_waits_for_it() {
        let queue = Queue::new();
        queue.push(b"x\n");
        queue.flush(Duration::MAX.min(Duration::from_secs(3600)));
    }
}
