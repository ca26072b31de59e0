//! The pinned thread pool all operators share: neighbouring chunks, stolen at the end, a short spin,
//! then sleep.
//!
//! A thread takes its part of the chunks in order, so that it reads memory as one stream (chunks from
//! one counter for all: 0.93 of the pace at 1 sequence, 0.84 at 8, Zen 4, 2026-11). Static parts
//! alone collapse when another process takes a core, so who has none left takes others' last. A step
//! has about six barriers a layer; a worker that slept through one would cost more than its work,
//! hence the spin.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use crate::affinity::{self, Place};
use crate::contention::{Waits, Watch};

/// Polls before a worker sleeps: about 50 µs on a 3 GHz core.
const SPINS: u32 = 20_000;
/// Set in `Shared::state` while a job takes workers; the bits below count workers inside it.
const OPEN: u64 = 1 << 31;
/// One job further in `Shared::state`.
const GENERATION: u64 = 1 << 32;

/// Work for one chunk.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// A pool of `threads - 1` workers and the calling thread. Any number of threads may call it: they
/// take turns, a run each.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held during a run: there is one job at a time.
    turn: Mutex<()>,
    watch: Mutex<Watch>,
    /// CPUs the process may use: the caller's, then one of each worker, then what is left.
    cpus: Vec<usize>,
}

#[derive(Debug)]
struct Shared {
    /// Generation, `OPEN`, and the count of workers inside the job.
    state: AtomicU64,
    /// Points to the caller's `&Work`; valid while a worker is counted in `state`, for the caller
    /// has the turn.
    job: AtomicPtr<&'static Work<'static>>,
    /// The chunks that each thread has left, the caller's first.
    parts: Vec<Part>,
    stop: AtomicBool,
    panicked: AtomicBool,
    sleeping: Vec<AtomicBool>,
    /// Workers that take no part, a bit each.
    resting: AtomicU64,
    waits: Vec<OnceLock<Waits>>,
}

/// A range of chunks, taken from both ends: the first in the upper, the end in the lower half. Each
/// has a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Part(AtomicU64);

impl Part {
    /// Relaxed, as taking is: `state` orders it before every thread's work.
    fn set(&self, range: std::ops::Range<usize>) {
        self.0.store((range.start as u64) << 32 | range.end as u64, Ordering::Relaxed);
    }

    fn first(&self) -> Option<usize> {
        self.step(|first, end| (first, first + 1, end))
    }

    fn last(&self) -> Option<usize> {
        self.step(|first, end| (end - 1, first, end - 1))
    }

    /// Takes one chunk where there is one: which, and the range after it.
    fn step(&self, take: impl Fn(u64, u64) -> (u64, u64, u64)) -> Option<usize> {
        let split = |range: u64| (range >> 32, range & u64::from(u32::MAX));
        let next = |range| {
            let (first, end) = split(range);
            let (_, first, end) = (first < end).then(|| take(first, end))?;
            Some(first << 32 | end)
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        let (first, end) = split(before);
        usize::try_from(take(first, end).0).ok()
    }
}

impl Pool {
    /// Starts the workers, each pinned to one of the CPUs the process may use.
    pub(crate) fn new(threads: usize) -> Self {
        let workers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: AtomicPtr::new(std::ptr::null_mut()),
            parts: (0..=workers).map(|_| Part::default()).collect(),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            resting: AtomicU64::new(0),
            waits: (0..workers).map(|_| OnceLock::new()).collect(),
        });
        let cpus = affinity::allowed_cpus();
        let spawn = |i: usize| {
            let shared = shared.clone();
            let cpu = cpus.get(i + 1).copied();
            let name = format!("gimbal-cpu-{}", i + 1);
            let run = move || {
                if let Some(cpu) = cpu {
                    affinity::pin([cpu]);
                }
                affinity::give_way();
                if let Some(waits) = Waits::of_this_thread() {
                    shared.waits[i].get_or_init(|| waits);
                }
                shared.work(i);
            };
            thread::Builder::new().name(name).spawn(run).ok()
        };
        // A worker that cannot be started is missing from the pool, which stays correct.
        let workers = (0..workers).map_while(spawn).collect();
        Self { shared, workers, turn: Mutex::default(), watch: Mutex::default(), cpus }
    }

    /// Threads that work, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `work` for chunks `0..chunks` on all threads; returns when all are done. Another caller's
    /// run is waited for. A chunk must not run anything on the same pool: it would wait for itself.
    ///
    /// # Panics
    /// If a chunk panicked. Other callers do not notice.
    pub(crate) fn run(&self, chunks: usize, work: &Work<'_>) {
        if chunks <= 1 || self.workers.is_empty() {
            return (0..chunks).for_each(work);
        }
        // A caller that panicked has closed its job before it gave the turn back.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.look();
        self.place();
        let shared = &*self.shared;
        // What a run left that panicked on the caller's thread too.
        shared.panicked.store(false, Ordering::Relaxed);
        // SAFETY: only the lifetime is changed. `Close` below waits until no worker is inside the
        // job before `work` goes out of scope, also when a chunk panics on this thread; and nobody
        // opens another job before, for this call has the turn.
        let job = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        let mut job = job;
        shared.job.store(&raw mut job, Ordering::Relaxed);
        // Who rests gets nothing: the others' parts stay whole.
        let workers = 0..self.workers.len();
        let threads = 1 + workers.clone().filter(|worker| !shared.rests(*worker)).count();
        let mut first = 0;
        for (i, part) in shared.parts.iter().enumerate() {
            let works = i == 0 || workers.contains(&(i - 1)) && !shared.rests(i - 1);
            let end = first + usize::from(works);
            part.set(first * chunks / threads..end * chunks / threads);
            first = end;
        }
        // After 2³² jobs, days of them, the count begins again.
        let before = shared.state.load(Ordering::Relaxed) / GENERATION * GENERATION;
        shared.state.store(before.wrapping_add(GENERATION) | OPEN, Ordering::SeqCst);
        let close = Close(shared);
        for (i, (worker, sleeping)) in self.workers.iter().zip(&shared.sleeping).enumerate() {
            if !shared.rests(i) && sleeping.swap(false, Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        shared.take(0, work);
        drop(close);
        let panicked = shared.panicked.load(Ordering::Relaxed);
        assert!(!panicked, "a chunk panicked on a worker");
    }

    /// Lets workers rest whose CPUs others want, and has them back.
    fn look(&self) {
        // A test holds it, or not all waits are there yet.
        let Ok(mut watch) = self.watch.try_lock() else { return };
        let waits = self.shared.waits[..self.workers.len()].iter().map(OnceLock::get);
        let Some(waits) = waits.collect::<Option<Vec<_>>>() else { return };
        if let Some(resting) = watch.look(&waits) {
            self.shared.resting.store(resting, Ordering::SeqCst);
        }
    }

    /// Where this caller may run: on a worker's CPU only while one rests.
    fn place(&self) {
        let all_work = self.shared.resting.load(Ordering::SeqCst) == 0;
        let place = if all_work { Place::OffWorkers } else { Place::Anywhere };
        affinity::place_caller(place, &self.cpus, self.workers.len());
    }
}

/// Closes the job and waits for the workers inside it.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        let mut spins = 0_u32;
        while !state.is_multiple_of(OPEN) {
            spins += 1;
            if spins.is_multiple_of(SPINS) {
                thread::yield_now()
            } else {
                std::hint::spin_loop()
            }
            state = self.0.state.load(Ordering::Acquire);
        }
    }
}

impl Shared {
    fn rests(&self, worker: usize) -> bool {
        worker < 64 && self.resting.load(Ordering::SeqCst) >> worker & 1 == 1
    }

    fn work(&self, worker: usize) {
        let mut done = 0;
        while let Some(generation) = self.enter(worker, done) {
            done = generation;
            // SAFETY: this worker is counted in `state`, so the caller of `run` still waits and
            // its job pointer and the closure behind it are alive.
            let work = unsafe { *self.job.load(Ordering::Acquire) };
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.take(worker + 1, work)
            }));
            if outcome.is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Works off the chunks of one thread, then the last ones of the others.
    fn take(&self, thread: usize, work: &Work<'_>) {
        let (before, from) = self.parts.split_at(thread);
        let [own, after @ ..] = from else { return };
        while let Some(chunk) = own.first() {
            work(chunk);
        }
        for other in after.iter().chain(before) {
            while let Some(chunk) = other.last() {
                work(chunk);
            }
        }
    }

    /// Waits for an open job newer than `done` and counts itself in; `None` is the end.
    fn enter(&self, worker: usize, done: u64) -> Option<u64> {
        let mut spins = 0;
        loop {
            let state = self.state.load(Ordering::Acquire);
            let generation = state / GENERATION;
            if generation != done && state & OPEN != 0 && !self.rests(worker) {
                let inside = state + 1;
                let (ok, err) = (Ordering::AcqRel, Ordering::Relaxed);
                if self.state.compare_exchange_weak(state, inside, ok, err).is_ok() {
                    return Some(generation);
                }
                continue;
            }
            if self.stop.load(Ordering::Acquire) {
                return None;
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                continue;
            }
            spins = 0;
            self.sleeping[worker].store(true, Ordering::SeqCst);
            // Checked again after announcing the sleep: `run` and `drop` publish first and look at
            // `sleeping` afterwards, so one of the two sides sees the other.
            let state = self.state.load(Ordering::SeqCst);
            let idle = state & OPEN == 0 || state / GENERATION == done || self.rests(worker);
            if idle && !self.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            self.sleeping[worker].store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            if worker.join().is_err() {
                // Chunks are caught; a worker cannot panic elsewhere, and there is nobody to tell.
                continue;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn every_chunk_runs_once() {
        let pool = Pool::new(3);
        for round in 0..2_000 {
            let chunks = round % 17;
            let counts: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(chunks, &|i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "round {round}");
        }
    }

    /// Callers of one pool, all at once: each chunk of each call runs once, within its call.
    #[test]
    fn callers_take_turns_and_no_chunk_outlives_its_call() {
        let pool = Pool::new(3);
        thread::scope(|scope| {
            for caller in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..400 {
                        let chunks = 2 + (round + caller) % 17;
                        let counts: Vec<_> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                        // Read after the call: what runs later is missing, what runs twice too much.
                        pool.run(chunks, &|i| {
                            counts[i].fetch_add(1, Ordering::Relaxed);
                        });
                        let counts: Vec<_> =
                            counts.into_iter().map(AtomicUsize::into_inner).collect();
                        assert_eq!(counts, vec![1; chunks], "caller {caller}, round {round}");
                    }
                });
            }
        });
    }

    /// Some callers' chunks panic, on any thread and on all: each of these calls panics, no other.
    #[test]
    fn a_caller_that_panics_costs_the_others_nothing() {
        let pool = Pool::new(3);
        thread::scope(|scope| {
            for caller in 0..6 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..12 {
                        let breaks = caller % 2 == 0;
                        let sum = AtomicUsize::new(0);
                        let work = |i: usize| {
                            assert!(!breaks || round % 3 == 0 && i != 7, "chunk {i}");
                            sum.fetch_add(i, Ordering::Relaxed);
                        };
                        let run = std::panic::AssertUnwindSafe(|| pool.run(16, &work));
                        let outcome = std::panic::catch_unwind(run);
                        assert_eq!(outcome.is_err(), breaks, "caller {caller}, round {round}");
                        assert!(breaks || sum.into_inner() == 120);
                    }
                });
            }
        });
    }

    #[test]
    fn who_rests_takes_no_chunk_and_comes_back() {
        let pool = Pool::new(2);
        // Held, so that the pool does not decide itself.
        let watch = pool.watch.lock().expect("nobody panicked");
        let here = thread::current().id();
        for rests in [true, false, true] {
            pool.shared.resting.store(u64::from(rests), Ordering::SeqCst);
            let elsewhere = AtomicUsize::new(0);
            let mut rounds = 0;
            while rounds < 50 || !rests && elsewhere.load(Ordering::Relaxed) == 0 {
                rounds += 1;
                pool.run(8, &|_| {
                    let is_worker = thread::current().id() != here;
                    elsewhere.fetch_add(usize::from(is_worker), Ordering::Relaxed);
                    thread::sleep(std::time::Duration::from_micros(50));
                });
            }
            assert_eq!(elsewhere.into_inner() == 0, rests);
        }
        drop(watch);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        let broken = || pool.run(64, &|i| assert!(i != 40, "chunk 40"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(broken)).is_err());
        let sum = AtomicUsize::new(0);
        pool.run(10, &|i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }
}
