//! The memory that all request bodies together may take, or all answers that wait for their readers,
//! shared fairly.
//!
//! Small bodies have a share of their own, so that a few large ones never keep them out; of the share
//! for large ones, one address gets at most half. Next: `body.rs`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::{Fault, Kind};

/// Unit of the budget: semaphores count to 2³² at least, bodies may be larger.
const UNIT_BYTES: usize = 1024;
/// Bodies up to here are small.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// Part of the budget that is kept for small bodies.
const SMALL_PART: usize = 4;
/// When a client that finds no room may try again.
const RETRY_AFTER_MS: u64 = 1000;

/// The whole budget.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Of what there may be too much.
    what: &'static str,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    large_units: usize,
    /// Units of the large share that each address holds.
    holders: Mutex<HashMap<IpAddr, usize>>,
}

/// What one body holds; dropping it gives everything back.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    address: IpAddr,
    bytes: usize,
    permits: Vec<OwnedSemaphorePermit>,
    large_units: usize,
}

impl Budget {
    pub(crate) fn new(what: &'static str, bytes: usize) -> Arc<Self> {
        let small = bytes / SMALL_PART / UNIT_BYTES;
        let large_units = (bytes / UNIT_BYTES).saturating_sub(small);
        Arc::new(Self {
            what,
            small: Arc::new(Semaphore::new(small)),
            large: Arc::new(Semaphore::new(large_units)),
            large_units,
            holders: Mutex::default(),
        })
    }

    /// A share that holds nothing yet.
    pub(crate) fn share(self: &Arc<Self>, address: IpAddr) -> Share {
        Share { budget: Arc::clone(self), address, bytes: 0, permits: Vec::new(), large_units: 0 }
    }

    fn holders(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Makes the share hold `bytes` in all.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Fault> {
        let held = self.bytes.div_ceil(UNIT_BYTES);
        let units = bytes.div_ceil(UNIT_BYTES).saturating_sub(held);
        if units > 0 {
            self.take(bytes, units)?;
        }
        self.bytes = self.bytes.max(bytes);
        Ok(())
    }

    /// Adds what is made of the body.
    pub(crate) fn grow_by(&mut self, bytes: usize) -> Result<(), Fault> {
        self.grow_to(self.bytes.saturating_add(bytes))
    }

    fn take(&mut self, bytes: usize, units: usize) -> Result<(), Fault> {
        let count = u32::try_from(units).unwrap_or(u32::MAX);
        if bytes <= SMALL_BYTES_MAX
            && let Ok(permit) = Arc::clone(&self.budget.small).try_acquire_many_owned(count)
        {
            self.permits.push(permit);
            return Ok(());
        }
        let mut holders = self.budget.holders();
        let held = holders.entry(self.address).or_default();
        let fits = *held + units <= self.budget.large_units / 2;
        let permit = Arc::clone(&self.budget.large).try_acquire_many_owned(count);
        let (Ok(permit), true) = (permit, fits) else {
            if *held == 0 {
                holders.remove(&self.address);
            }
            return Err(no_room(self.budget.what));
        };
        *held += units;
        self.large_units += units;
        self.permits.push(permit);
        Ok(())
    }
}

fn no_room(what: &str) -> Fault {
    let message = format!("too many {what} at once; try again");
    let fault = Fault::new(Kind::Unavailable, message);
    Fault { retry_after_ms: Some(RETRY_AFTER_MS), ..fault }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.large_units == 0 {
            return;
        }
        let mut holders = self.budget.holders();
        if let Some(held) = holders.get_mut(&self.address) {
            *held -= self.large_units;
            if *held == 0 {
                holders.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_never_keep_small_ones_out_and_nobody_takes_all() {
        let budget = Budget::new("large bodies", 4 << 20);
        let share = |last: u8| budget.share(IpAddr::from([127, 0, 0, last]));
        let (mut greedy, mut second, mut small) = (share(1), share(2), share(1));
        assert_eq!(greedy.grow_to(2 << 20).map_err(|f| f.kind), Err(Kind::Unavailable));
        assert_eq!(greedy.grow_to(1536 << 10), Ok(()), "half of what large ones have");
        assert_eq!(second.grow_to(1536 << 10), Ok(()));
        assert_eq!(share(3).grow_to(100 << 10).map_err(|f| f.kind), Err(Kind::Unavailable));
        assert_eq!(small.grow_to(64 << 10), Ok(()), "a small one finds its place");
        drop(greedy);
        assert_eq!(share(3).grow_to(100 << 10), Ok(()));
        drop((second, small));
        assert!(budget.holders().is_empty(), "everything is given back");
        let free = budget.small.available_permits() + budget.large.available_permits();
        assert_eq!(free * UNIT_BYTES, 4 << 20);
    }
}
