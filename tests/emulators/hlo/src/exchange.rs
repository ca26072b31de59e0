//! What ranks of one model exchange, each on its thread.
//!
//! All wait for all: a rank that ends early, by an error or a panic, ends the others' waiting. Next: `lib.rs`.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::buffer::Data;

/// Between as many ranks as it was made for; used for one run of each at a time.
#[derive(Debug)]
pub struct Exchange {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What each rank gives in this round.
    given: Vec<Option<Arc<Data>>>,
    /// Ranks that have taken all of it.
    taken: usize,
    /// Why there will be no more.
    lost: Option<String>,
}

impl Exchange {
    /// Between so many ranks.
    #[must_use]
    pub fn new(ranks: usize) -> Self {
        let state = State { given: vec![None; ranks], taken: 0, lost: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// How many ranks there are.
    #[must_use]
    pub fn ranks(&self) -> usize {
        self.lock().given.len()
    }

    /// Ends the waiting of all ranks, now and later.
    pub fn lose(&self, why: &str) {
        self.lock().lost.get_or_insert_with(|| why.to_owned());
        self.changed.notify_all();
    }

    /// Gives a value, and takes those of all ranks.
    pub(crate) fn all(&self, rank: usize, value: Data) -> Result<Vec<Arc<Data>>, String> {
        let mut state = self.lock();
        // The round before may not have been taken by all.
        while state.given[rank].is_some() {
            state = self.wait(state)?;
        }
        state.given[rank] = Some(Arc::new(value));
        self.changed.notify_all();
        while state.given.iter().any(Option::is_none) {
            state = self.wait(state)?;
        }
        let all = state.given.iter().flatten().cloned().collect();
        state.taken += 1;
        if state.taken == state.given.len() {
            state.taken = 0;
            state.given.fill(None);
            self.changed.notify_all();
        }
        Ok(all)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A rank that panicked told why.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, String> {
        if let Some(why) = &state.lost {
            return Err(why.clone());
        }
        Ok(self.changed.wait(state).unwrap_or_else(PoisonError::into_inner))
    }
}
