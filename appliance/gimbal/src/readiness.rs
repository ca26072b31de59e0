//! What a server needs of its process before it may say that it is ready: descriptors, threads, a
//! clock.
//!
//! Each is looked at once, and what is missing is a sentence with an exit code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::SystemTime;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::Failure;

/// Descriptors beside connections: logs, library, model, sockets, epoll, and one kept for `/ping`.
pub(crate) const FILES_OWN: u64 = 64;
/// With fewer nothing can be served: there are about ten of our own.
const FILES_MIN: u64 = 16;
/// Connections at once, at most and at least.
const CONNECTIONS: (u64, u64) = (4096, 16);
/// Descriptors that must be free when everything is open: a client takes two or three.
const FILES_SPARE: usize = 3;
/// Threads beside those that compute and those that answer sockets: texts, hangups, logs, the engine,
/// files that are kept, one that opens.
const THREADS_OWN: usize = 8;

/// Raises the soft limit of descriptors to the hard one; `u64::MAX` is no limit.
///
/// # Errors
/// There are too few to serve with.
pub(crate) fn raise_open_files() -> Result<u64, Failure> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let limit = limit.unwrap_or(u64::MAX);
    match limit < FILES_MIN {
        true => Err(too_few_files(&format!("{limit} may be open"))),
        false => Ok(limit),
    }
}

/// Connections at once under that limit of descriptors.
pub(crate) fn connections_max(open_files_max: u64) -> usize {
    let (most, least) = CONNECTIONS;
    let rest = open_files_max.saturating_sub(FILES_OWN);
    usize::try_from(rest.clamp(least, most)).unwrap_or(usize::MAX)
}

/// Looks whether a client could be answered, now that everything is open.
///
/// # Errors
/// No descriptors are left.
pub(crate) fn spare_files() -> Result<(), Failure> {
    let spare = || rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC);
    let opened: Result<Vec<_>, _> = (0..FILES_SPARE).map(|_| spare()).collect();
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    opened.map(drop).map_err(|e| too_few_files(&format!("all of {limit} are open ({e})")))
}

fn too_few_files(what: &str) -> Failure {
    Failure::unavailable(format!(
        "no descriptors for clients: {what}; ulimit -n {} or more",
        (FILES_OWN + CONNECTIONS.1).next_power_of_two()
    ))
}

/// Looks whether as many threads can run at once as serving takes: a runtime that gets none of its
/// own would end the process without a word of ours.
///
/// # Errors
/// They cannot.
pub(crate) fn threads(computing: usize, answering: usize) -> Result<(), Failure> {
    let end = Arc::new(AtomicBool::new(false));
    let mut all = Vec::new();
    let mut failed = None;
    for _ in 0..computing + answering + THREADS_OWN {
        let end = end.clone();
        let wait = move || {
            while !end.load(Ordering::Acquire) {
                thread::park();
            }
        };
        match thread::Builder::new().name("tried".to_owned()).spawn(wait) {
            Ok(thread) => all.push(thread),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    end.store(true, Ordering::Release);
    for thread in all {
        thread.thread().unpark();
        // It does nothing that could fail.
        drop(thread.join());
    }
    failed.map_or(Ok(()), |error| Err(no_threads(&error)))
}

/// The system grants no thread.
pub(crate) fn no_threads(error: &std::io::Error) -> Failure {
    Failure::unavailable(format!(
        "too few threads: {error}; raise ulimit -u, the container's limit of processes (pids.max) or \
         ulimit -v, or lower --threads"
    ))
}

/// Refuses a clock that no date can be written for.
///
/// # Errors
/// It shows a time before 1970.
pub(crate) fn clock(now: SystemTime) -> Result<(), Failure> {
    now.duration_since(SystemTime::UNIX_EPOCH).map(drop).map_err(|before| {
        Failure::unavailable(format!(
            "the clock shows {} s before 1970, for which no answer can be dated; set it \
             (timedatectl set-ntp true)",
            before.duration().as_secs()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        let cases = [
            (16, 16),
            (64, 16),
            (81, 17),
            (1024, 960),
            (4160, 4096),
            (1 << 20, 4096),
            (u64::MAX, 4096),
        ];
        for (limit, expect) in cases {
            assert_eq!(connections_max(limit), expect, "{limit}");
        }
    }

    #[test]
    fn a_clock_before_1970_is_refused() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert!(clock(epoch).is_ok());
        let why = clock(epoch - Duration::from_secs(9)).expect_err("no date").to_string();
        assert!(why.contains("9 s before 1970"), "{why}");
    }

    #[test]
    fn this_process_may_serve() {
        assert!(raise_open_files().expect("tests have some") >= FILES_MIN);
        spare_files().expect("tests have some");
        threads(2, 2).expect("tests have some");
    }
}
