//! Which threads of the pool should rest because others want their CPUs.
//!
//! A step ends with its last thread. One that gets half of its CPU holds up all others at every
//! barrier, so the pool is faster without it. How long a thread waited for a CPU is counted by
//! Linux (`schedstat`, `Documentation/scheduler/sched-stats.rst`); where that is not to be had, all
//! threads work.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use tracing::info;

/// How long threads are watched before they are judged.
const WINDOW: Duration = Duration::from_millis(50);
/// How long the system may take to give each thread a CPU of its own.
const SETTLE: Duration = Duration::from_millis(20);
/// The share of a window that a thread may wait. Threads that answer sockets take 2 to 3 %, a busy
/// loop on its CPU 40 to 70 %.
const SHARE: f64 = 0.3;
/// The first rest, doubled while the CPU is still wanted when it ends.
const REST: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_millis(1600);

/// How long one thread has waited for a CPU.
#[derive(Debug)]
pub(crate) struct Waits(File);

impl Waits {
    /// The calling thread's.
    pub(crate) fn of_this_thread() -> Option<Self> {
        File::open("/proc/thread-self/schedstat").ok().map(Self)
    }

    fn total(&self) -> Option<Duration> {
        let mut text = [0; 96];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..length]).ok()?;
        // Nanoseconds on a CPU, nanoseconds of waiting for one, time slices.
        text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
    }
}

thread_local! {
    /// A caller's own.
    static CALLER: Option<Waits> = Waits::of_this_thread();
}

/// What the callers of the pool know of its threads.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    window: Option<Window>,
    rest: Duration,
}

/// What is done until a time.
#[derive(Debug)]
struct Window {
    began: Instant,
    length: Duration,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// All work; how long this caller and each worker had waited when it began.
    Watching(ThreadId, Vec<Duration>),
    /// Several models take turns: what waits for a CPU may wait for another caller of ours.
    Shared,
    /// Some rest.
    Resting,
    /// All work again, and the system may still put the caller on a worker's CPU.
    Settling,
}

impl Watch {
    /// Which workers rest from now on, a bit each; `None` while nothing changes. To be called before
    /// each run by the thread that takes part in it.
    pub(crate) fn look(&mut self, workers: &[&Waits]) -> Option<u64> {
        let (now, this) = (Instant::now(), thread::current().id());
        if let Some(Window { began, length, phase }) = &mut self.window
            && now < *began + *length
        {
            if matches!(phase, Phase::Watching(caller, _) if *caller != this) {
                *phase = Phase::Shared;
            }
            return None;
        }
        let found = waits(workers)?;
        let before = self.window.take();
        self.begin(now, WINDOW, Phase::Watching(this, found.clone()));
        let Window { began, phase, .. } = before?;
        let waits = match phase {
            Phase::Watching(caller, waits) if caller == this => waits,
            Phase::Watching(..) | Phase::Shared | Phase::Settling => return None,
            Phase::Resting => {
                self.begin(now, SETTLE, Phase::Settling);
                return Some(0);
            }
        };
        let passed = now - began;
        // After an idle time nothing is known.
        if passed > 2 * WINDOW {
            return None;
        }
        let shares: Vec<f64> = found
            .iter()
            .zip(&waits)
            .map(|(now, before)| now.saturating_sub(*before).div_duration_f64(passed))
            .collect();
        let resting = resting(&shares);
        if resting == 0 {
            if !std::mem::take(&mut self.rest).is_zero() {
                info!("all computing threads have a CPU again");
            }
            return None;
        }
        if self.rest.is_zero() {
            let (threads, waited) = (shares.len(), shares);
            info!(
                threads,
                resting = resting.count_ones(),
                ?waited,
                "others want the CPUs of computing threads: some rest while they do"
            );
        }
        self.rest = (2 * self.rest).clamp(REST, REST_MAX);
        self.begin(now, self.rest, Phase::Resting);
        Some(resting)
    }

    fn begin(&mut self, began: Instant, length: Duration, phase: Phase) {
        self.window = Some(Window { began, length, phase });
    }
}

/// How long the calling thread and each worker have waited.
fn waits(workers: &[&Waits]) -> Option<Vec<Duration>> {
    let caller = CALLER.with(|caller| caller.as_ref()?.total());
    std::iter::once(caller).chain(workers.iter().map(|waits| waits.total())).collect()
}

/// The workers that rest, of the shares of time that the caller and each worker waited. The caller
/// cannot rest; a worker does in its place, and leaves it a CPU.
fn resting(shares: &[f64]) -> u64 {
    let Some((caller, workers)) = shares.split_first() else { return 0 };
    let late = |(i, share): (usize, &f64)| if *share > SHARE { 1_u64 << i } else { 0 };
    let late = workers.iter().enumerate().take(63).map(late).fold(0, |all, one| all | one);
    if late == 0 && *caller > SHARE && !workers.is_empty() {
        return 1 << (workers.len().min(63) - 1);
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_rests_and_a_worker_for_the_caller() {
        for (shares, expect) in [
            (&[0.0, 0.02][..], 0),
            (&[0.1, 0.7], 1),
            (&[0.7, 0.0], 1),
            (&[0.7, 0.7], 1),
            (&[0.0, 0.0, 0.9, 0.0], 0b010),
            (&[0.9, 0.0, 0.0, 0.0], 0b100),
            (&[0.9], 0),
            (&[], 0),
        ] {
            assert_eq!(resting(shares), expect, "{shares:?}");
        }
    }

    /// Two models that take turns wake where the other one still is: nobody else wants a CPU.
    #[test]
    fn a_window_of_two_callers_is_not_judged() {
        let mut watch = Watch::default();
        let (this, long) = (thread::current().id(), Duration::from_secs(60));
        watch.begin(Instant::now(), long, Phase::Watching(this, Vec::new()));
        let phase = |watch: &Watch| watch.window.as_ref().map(|w| format!("{:?}", w.phase));
        assert_eq!(watch.look(&[]), None);
        assert!(phase(&watch).is_some_and(|phase| phase.starts_with("Watching")));
        let other = thread::scope(|scope| scope.spawn(|| watch.look(&[])).join());
        assert_eq!(other.expect("no panic"), None);
        assert_eq!(phase(&watch).as_deref(), Some("Shared"));
    }

    #[test]
    fn a_thread_knows_how_long_it_waited() {
        let Some(waits) = Waits::of_this_thread() else { return };
        let first = waits.total().expect("Linux's form");
        std::thread::sleep(Duration::from_millis(1));
        assert!(waits.total().expect("Linux's form") >= first);
    }
}
