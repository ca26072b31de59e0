//! The things used last, by a key.
//!
//! Next: `gbnf.rs`.

use std::collections::VecDeque;

/// At most so many things; who was asked for longest ago goes first.
#[derive(Debug)]
pub(super) struct Cache<T> {
    max: usize,
    /// The one used last comes last.
    kept: VecDeque<(String, T)>,
}

impl<T: Clone> Cache<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, kept: VecDeque::new() }
    }

    pub(super) fn get(&mut self, key: &str) -> Option<T> {
        let at = self.kept.iter().position(|(known, _)| known == key)?;
        let entry = self.kept.remove(at)?;
        let found = entry.1.clone();
        self.kept.push_back(entry);
        Some(found)
    }

    pub(super) fn put(&mut self, key: String, value: T) {
        // Two may have made the same at once; the first is as good.
        if self.kept.iter().any(|(known, _)| *known == key) {
            return;
        }
        if self.kept.len() == self.max {
            self.kept.pop_front();
        }
        self.kept.push_back((key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_used_longest_ago_goes() {
        let mut cache = Cache::new(2);
        cache.put("a".into(), 1);
        cache.put("b".into(), 2);
        assert_eq!(cache.get("a"), Some(1));
        cache.put("c".into(), 3);
        assert_eq!([cache.get("a"), cache.get("b"), cache.get("c")], [Some(1), None, Some(3)]);
        cache.put("c".into(), 4);
        assert_eq!(cache.get("c"), Some(3));
    }
}
