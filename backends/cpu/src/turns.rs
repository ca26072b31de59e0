//! Turns on what only one can use at a time: in the order in which they were asked for.
//!
//! A lock alone would not do: whoever gives it back and asks again at once gets it again, and the other
//! model stands still.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Who is next.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    numbers: Mutex<Numbers>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Turns that were asked for.
    given: u64,
    /// Turns that are over: the number of the one whose turn it is.
    over: u64,
}

/// A turn; over when dropped.
#[derive(Debug)]
pub struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits until all who asked before have had their turn.
    pub(crate) fn wait(&self) -> Turn<'_> {
        let mut numbers = self.numbers();
        let own = numbers.given;
        numbers.given += 1;
        while numbers.over != own {
            numbers = self.over.wait(numbers).unwrap_or_else(PoisonError::into_inner);
        }
        Turn(self)
    }

    /// Nothing between taking and giving back this lock panics.
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.numbers().over += 1;
        self.0.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Three ask while one has the turn, one of them panics in its own, and the first asks again.
    #[test]
    fn who_asks_first_is_first_and_a_panic_ends_a_turn() {
        let (turns, (tell, order)) = (Turns::default(), mpsc::channel());
        thread::scope(|scope| {
            let first = turns.wait();
            for name in 1..=4 {
                let (turns, tell) = (&turns, tell.clone());
                scope.spawn(move || {
                    let work = || {
                        let _turn = turns.wait();
                        tell.send(name).expect("the test listens");
                        assert!(name != 2, "in its turn");
                    };
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                    assert_eq!(outcome.is_err(), name == 2);
                });
                // The next one asks when this one has.
                while turns.numbers().given != name + 1 {
                    thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
        drop(turns.wait());
    }
}
