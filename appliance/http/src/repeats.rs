//! Things that happen again and again, told once a second with their count.
//!
//! Next: `access.rs`.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// How often the same is told at most.
const PERIOD: Duration = Duration::from_secs(1);
/// Kinds that are told apart; beyond them nothing is told, only counted by its metric.
const KINDS_MAX: usize = 256;

/// What happened lately, by kind.
#[derive(Debug)]
pub(crate) struct Repeats<K>(HashMap<K, Seen>);

#[derive(Debug)]
struct Seen {
    told: Instant,
    /// Since then.
    times: u64,
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Repeats<K> {
    /// Notes that it happened; gives how often since it was told, if it is to be told now.
    pub(crate) fn note(&mut self, kind: &K, now: Instant) -> Option<u64> {
        if let Some(seen) = self.0.get_mut(kind) {
            seen.times += 1;
            if now - seen.told < PERIOD {
                return None;
            }
            seen.told = now;
            return Some(std::mem::take(&mut seen.times));
        }
        if self.0.len() >= KINDS_MAX {
            return None;
        }
        self.0.insert(kind.clone(), Seen { told: now, times: 0 });
        Some(1)
    }

    /// What happened and was not told yet; what is over is forgotten.
    pub(crate) fn rest(&mut self, now: Instant) -> Vec<(K, u64)> {
        let mut rest = Vec::new();
        self.0.retain(|kind, seen| {
            if now - seen.told < PERIOD {
                return true;
            }
            let times = std::mem::take(&mut seen.times);
            if times > 0 {
                seen.told = now;
                rest.push((kind.clone(), times));
            }
            times > 0
        });
        rest
    }
}

/// What makes two lines of the log the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Alike {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_a_second_and_nothing_is_lost() {
        let (mut repeats, mut now) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.note(&"a", now), Some(1));
        assert_eq!([repeats.note(&"a", now), repeats.note(&"a", now)], [None, None]);
        assert_eq!(repeats.note(&"b", now), Some(1));
        now += PERIOD;
        assert_eq!(repeats.note(&"a", now), Some(3));
        assert_eq!(repeats.note(&"a", now), None);
        now += PERIOD;
        assert_eq!(repeats.rest(now), [("a", 1)]);
        now += PERIOD;
        assert_eq!(repeats.rest(now), []);
        assert!(repeats.0.is_empty());
    }
}
