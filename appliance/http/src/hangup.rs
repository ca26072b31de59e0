//! Who has hung up: the one way to see a client leave whatever lies unread before its end.
//!
//! hyper notices the end of a connection by reading it, and does not read while bytes of a next
//! request wait; a client that sends one byte more and leaves would never be missed. So the kernel is
//! asked: one epoll for all connections, told of each when it is accepted, reports only that the other
//! side has closed or reset. Next: `socket.rs`.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::Notify;
use tracing::warn;

/// Events taken at once.
const EVENTS: usize = 64;

/// What the event that ends the watch is called.
const END: u64 = u64::MAX;

/// All connections that are watched, by a thread of their own.
#[derive(Debug)]
pub(crate) struct Hangups {
    epoll: OwnedFd,
    end: OwnedFd,
    lines: Mutex<Lines>,
}

/// The thread; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) hangups: Arc<Hangups>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    open: HashMap<u64, Arc<Line>>,
}

/// One connection, as its requests see it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    is_cut: AtomicBool,
    cut: Notify,
}

/// A connection's entry; dropping it ends the watch.
#[derive(Debug)]
pub(crate) struct Watch {
    hangups: Arc<Hangups>,
    number: u64,
    pub(crate) line: Arc<Line>,
}

impl Watcher {
    /// # Errors
    /// There is no descriptor or thread left.
    pub(crate) fn start() -> io::Result<Self> {
        let (epoll, end) =
            (epoll::create(CreateFlags::CLOEXEC)?, eventfd(0, EventfdFlags::CLOEXEC)?);
        epoll::add(&epoll, &end, EventData::new_u64(END), EventFlags::IN)?;
        let hangups = Arc::new(Hangups { epoll, end, lines: Mutex::default() });
        let watched = Arc::clone(&hangups);
        let thread = std::thread::Builder::new().name("hangups".to_owned());
        let thread = thread.spawn(move || {
            if let Err(error) = watched.run() {
                warn!(%error, "clients that leave are noticed late from now on");
            }
        })?;
        Ok(Self { hangups, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // An event's counter that starts at 0 takes a 1; then the thread ends at once.
        let told = rustix::io::write(&self.hangups.end, &1_u64.to_ne_bytes()).is_ok();
        if let (true, Some(thread)) = (told, self.thread.take()) {
            drop(thread.join());
        }
    }
}

impl Hangups {
    /// Watches a connection from now on.
    pub(crate) fn watch(self: &Arc<Self>, socket: impl AsFd) -> io::Result<Watch> {
        let line = Arc::new(Line::default());
        let mut lines = self.lock();
        let number = lines.next;
        lines.next += 1;
        lines.open.insert(number, Arc::clone(&line));
        drop(lines);
        let watch = Watch { hangups: Arc::clone(self), number, line };
        // Level-triggered and once: an end does not go away. HUP and ERR are always told.
        let flags = EventFlags::RDHUP | EventFlags::ONESHOT;
        epoll::add(&self.epoll, socket, EventData::new_u64(number), flags)?;
        Ok(watch)
    }

    /// Tells lines that they are cut, until the end.
    fn run(&self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => continue,
                waited => waited?,
            };
            let lines = self.lock();
            for event in events.drain(..) {
                let number = event.data.u64();
                if number == END {
                    return Ok(());
                }
                if let Some(line) = lines.open.get(&number) {
                    line.is_cut.store(true, Ordering::SeqCst);
                    line.cut.notify_waiters();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Waits until the client has closed its side or reset the connection.
    pub(crate) async fn cut(&self) {
        let cut = self.cut.notified();
        tokio::pin!(cut);
        // Registers before looking, so that the end is not missed.
        cut.as_mut().enable();
        if !self.is_cut.load(Ordering::SeqCst) {
            cut.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The kernel forgets the socket by itself when it is closed.
        self.hangups.lock().open.remove(&self.number);
    }
}
