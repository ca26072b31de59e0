//! How many requests are inside: an atomic count that is taken before any work is done.
//!
//! A permit is held until the lane has forgotten the request, so that nothing a client does can
//! make more than `places` requests wait anywhere. Next: `refusal.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

/// The door of one model.
#[derive(Debug)]
pub(crate) struct Gate {
    places: u32,
    inside: AtomicU32,
    closed: AtomicBool,
    empty: Notify,
}

/// Why the door did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    Full,
    /// There are not so many places, ever.
    TooMany {
        places: u32,
    },
    Closed,
}

/// The right to be inside. Dropping it leaves.
#[derive(Debug)]
pub struct Permit(Arc<Gate>);

impl Gate {
    pub(crate) fn new(places: u32) -> Arc<Self> {
        let inside = AtomicU32::new(0);
        Arc::new(Self { places, inside, closed: AtomicBool::new(false), empty: Notify::new() })
    }

    /// Takes `count` places, all or none.
    pub(crate) fn enter(self: &Arc<Self>, count: u32) -> Result<Vec<Permit>, Shut> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Shut::Closed);
        }
        if count > self.places {
            return Err(Shut::TooMany { places: self.places });
        }
        let more = |inside: u32| inside.checked_add(count).filter(|sum| *sum <= self.places);
        let entered = self.inside.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        entered.map_err(|_| Shut::Full)?;
        Ok((0..count).map(|_| Permit(Arc::clone(self))).collect())
    }

    pub(crate) fn inside(&self) -> u32 {
        self.inside.load(Ordering::SeqCst)
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Waits until nobody is inside.
    pub(crate) async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            // Registers before looking, so that the last one to leave is not missed.
            empty.as_mut().enable();
            if self.inside() == 0 {
                return;
            }
            empty.await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.0.inside.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let gate = Gate::new(3);
        let two = gate.enter(2).expect("three places");
        assert_eq!(gate.enter(2).map(|p| p.len()), Err(Shut::Full));
        let one = gate.enter(1).expect("one is left");
        assert_eq!(gate.inside(), 3);
        assert_eq!(gate.enter(4).map(|p| p.len()), Err(Shut::TooMany { places: 3 }));
        drop(two);
        assert_eq!(gate.inside(), 1);
        gate.close();
        assert_eq!(gate.enter(1).map(|p| p.len()), Err(Shut::Closed));
        drop(one);
        assert_eq!(gate.inside(), 0);
        assert_eq!(gate.enter(u32::MAX).map(|p| p.len()), Err(Shut::Closed));
    }
}
