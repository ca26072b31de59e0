//! The places of connections: who has one, and whose is given to a newcomer.
//!
//! A connection that waits for a request (or for the rest of a head) holds a place that others may
//! need: the one that has waited longest is closed for a newcomer. A few places are kept for those who
//! come when everybody is busy: they are told so, and `/ping` and `/metrics` are answered. Next:
//! `serve.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Places beyond the limit, for whoever must be answered at all times.
pub(crate) const RESERVED: usize = 32;

/// All places.
#[derive(Debug)]
pub(crate) struct Connections {
    places: usize,
    open: AtomicUsize,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    next: u64,
    /// By when they became idle.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// An open connection; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    /// It came when all places were taken.
    is_reserved: bool,
    /// Its number among the idle ones, while it is one.
    idle: Mutex<Option<u64>>,
    is_answered: AtomicBool,
    ended: Arc<Notify>,
}

impl Connections {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places, open: AtomicUsize::new(0), idle: Mutex::default() })
    }

    /// A place, for which an idle connection may have to go; `None` where even those that are kept
    /// are taken.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Arc<Place>> {
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        let is_reserved = before >= self.places && !self.end_oldest();
        if before >= self.places + RESERVED {
            self.open.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        let place = Place {
            connections: Arc::clone(self),
            is_reserved,
            idle: Mutex::new(None),
            is_answered: AtomicBool::new(false),
            ended: Arc::new(Notify::new()),
        };
        place.wait();
        Some(Arc::new(place))
    }

    /// Ends the connection that has been idle longest.
    pub(crate) fn end_oldest(&self) -> bool {
        let oldest = self.idle().waiting.pop_first();
        oldest.map(|(_, ended)| ended.notify_one()).is_some()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A request has begun: it cannot be taken away.
    pub(crate) fn work(&self) {
        if let Some(number) = self.number().take() {
            self.connections.idle().waiting.remove(&number);
        }
    }

    /// Its request is answered, as far as the answer's maker is concerned.
    pub(crate) fn answered(&self) {
        self.is_answered.store(true, Ordering::SeqCst);
    }

    /// What was to be sent is sent: if its request is answered, it waits for the next one.
    pub(crate) fn flushed(&self) {
        if self.is_answered.swap(false, Ordering::SeqCst) {
            self.wait();
        }
    }

    /// It waits for a request from now on.
    fn wait(&self) {
        let mut idle = self.connections.idle();
        let number = idle.next;
        idle.next += 1;
        idle.waiting.insert(number, Arc::clone(&self.ended));
        drop(idle);
        *self.number() = Some(number);
    }

    /// Waits until somebody else needs it more.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// True if it is one of those that are kept.
    pub(crate) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.work();
        self.connections.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Marks requests of connections that came when all places were taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowded;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ended(place: &Place) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(place.ended()).poll(&mut context).is_ready()
    }

    #[test]
    fn the_longest_idle_goes_first_and_some_places_are_kept() {
        let connections = Connections::new(2);
        let first = connections.enter().expect("a place");
        let second = connections.enter().expect("a place");
        first.work();
        first.answered();
        first.flushed();
        let third = connections.enter().expect("for the second");
        assert!(!third.is_reserved());
        assert_eq!((is_ended(&first), is_ended(&second)), (false, true));
        drop(second);
        first.work();
        third.work();
        let kept: Vec<_> = (0..RESERVED).map(|_| connections.enter().expect("kept")).collect();
        assert!(kept[0].is_reserved(), "everybody else works");
        kept.iter().for_each(|place| place.work());
        assert!(connections.enter().is_none());
        drop(kept);
        drop((first, third));
        assert_eq!(connections.open.load(Ordering::SeqCst), 0);
        assert!(connections.idle().waiting.is_empty());
    }
}
