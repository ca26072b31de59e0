//! The few threads of the process that do long work on texts: parsing large bodies, rendering,
//! tokenizing, detokenizing.
//!
//! As many as there are cores, less important than threads that answer sockets, and shared fairly:
//! clients take turns, so that who sends a hundred long texts makes nobody else wait for more than
//! the texts that are being worked on. How much may wait is bounded by the permits and bodies of
//! those who wait. Next: `prompt.rs`.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use gimbal_scheduler::Client;
use tokio::sync::oneshot;

use crate::Refusal;

/// Threads at most: beyond it, computing needs the cores more.
const THREADS_MAX: usize = 8;
/// How much less than others' these threads' time weighs (`nice`), as computing threads'.
const GIVE_WAY: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// The process's threads.
static POOL: LazyLock<Pool> = LazyLock::new(Pool::start);

struct Pool {
    queue: &'static Queue,
    has_threads: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

/// Jobs of all clients; clients with jobs take turns.
#[derive(Default)]
struct Waiting {
    turns: VecDeque<Client>,
    jobs: HashMap<Client, VecDeque<Job>>,
}

/// Runs `work` on one of the threads, in this client's turn. Who stops waiting takes work back that
/// has not begun.
///
/// # Errors
/// The work panicked.
pub async fn run<T: Send + 'static>(
    client: Client,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    if !POOL.has_threads {
        return Ok(work());
    }
    let (sender, answer) = oneshot::channel();
    let job = move || {
        if sender.is_closed() {
            return;
        }
        let done = catch_unwind(AssertUnwindSafe(work));
        // Nobody may be waiting any more; a panic is told by the hook, and here by silence.
        drop(done.map(|done| sender.send(done).is_ok()));
    };
    POOL.queue.push(client, Box::new(job));
    answer.await.map_err(|_| Refusal::Unavailable { why: "a bug in text processing".to_owned() })
}

/// Runs `work` on one of the threads, in this client's turn. A panic in it is told by the hook only.
pub(crate) fn spawn(client: Client, work: impl FnOnce() + Send + 'static) {
    if !POOL.has_threads {
        return work();
    }
    let job = || drop(catch_unwind(AssertUnwindSafe(work)));
    POOL.queue.push(client, Box::new(job));
}

impl Pool {
    fn start() -> Self {
        let queue: &'static Queue = Box::leak(Box::default());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |number: usize| {
            let thread = std::thread::Builder::new().name(format!("text-{number}"));
            thread.spawn(|| queue.work_forever()).is_ok()
        };
        let started = (0..cores.min(THREADS_MAX)).filter(|number| start(*number)).count();
        Self { queue, has_threads: started > 0 }
    }
}

impl Queue {
    fn push(&self, client: Client, job: Job) {
        self.lock().push(client, job);
        self.came.notify_one();
    }

    fn work_forever(&self) {
        // Without the right to, threads weigh the same: nothing else changes.
        rustix::process::setpriority_process(None, GIVE_WAY).ok();
        loop {
            let mut waiting = self.lock();
            let job = loop {
                match waiting.pop() {
                    Some(job) => break job,
                    None => {
                        waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner)
                    }
                }
            };
            drop(waiting);
            job();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, client: Client, job: Job) {
        let jobs = self.jobs.entry(client).or_default();
        if jobs.is_empty() {
            self.turns.push_back(client);
        }
        jobs.push_back(job);
    }

    /// The next job of the client whose turn it is.
    fn pop(&mut self) -> Option<Job> {
        let client = self.turns.pop_front()?;
        let jobs = self.jobs.get_mut(&client)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.jobs.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn client(number: u64) -> Client {
        Client { address: number, key: 0 }
    }

    #[test]
    fn clients_take_turns() {
        let (mut waiting, order) = (Waiting::default(), Arc::new(Mutex::new(Vec::new())));
        for (who, name) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            let order = Arc::clone(&order);
            let job = move || order.lock().expect("no panic").push(name);
            waiting.push(client(who), Box::new(job));
        }
        while let Some(job) = waiting.pop() {
            job();
        }
        let order = order.lock().expect("no panic");
        assert_eq!(*order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert!(waiting.jobs.is_empty(), "nothing is left of clients that left");
    }

    #[tokio::test]
    async fn a_panic_is_one_refusal_and_the_threads_live_on() {
        for _ in 0..2 * THREADS_MAX {
            let refused: Result<(), Refusal> = run(client(1), || panic!("a test's")).await;
            assert!(matches!(refused, Err(Refusal::Unavailable { .. })));
        }
        assert_eq!(run(client(1), || 7).await, Ok(7));
    }
}
