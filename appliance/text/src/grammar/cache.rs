//! The things used last, by a key.
//!
//! Next: `gbnf.rs`.

use std::collections::VecDeque;

/// At most so many things with so many bytes of keys; who was asked for longest ago goes first.
#[derive(Debug)]
pub(super) struct Cache<T> {
    max: usize,
    key_bytes_max: usize,
    key_bytes: usize,
    /// The one used last comes last.
    kept: VecDeque<(String, T)>,
}

impl<T: Clone> Cache<T> {
    pub(super) fn new(max: usize, key_bytes_max: usize) -> Self {
        Self { max, key_bytes_max, key_bytes: 0, kept: VecDeque::new() }
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
        self.key_bytes += key.len();
        self.kept.push_back((key, value));
        while self.kept.len() > self.max || self.key_bytes > self.key_bytes_max {
            let Some((oldest, _)) = self.kept.pop_front() else { return };
            self.key_bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_used_longest_ago_goes() {
        let mut cache = Cache::new(2, 100);
        cache.put("a".into(), 1);
        cache.put("b".into(), 2);
        assert_eq!(cache.get("a"), Some(1));
        cache.put("c".into(), 3);
        assert_eq!([cache.get("a"), cache.get("b"), cache.get("c")], [Some(1), None, Some(3)]);
        cache.put("c".into(), 4);
        assert_eq!(cache.get("c"), Some(3));
    }

    #[test]
    fn many_bytes_are_kept_for_fewer() {
        let mut cache = Cache::new(8, 10);
        cache.put("aaaa".into(), 1);
        cache.put("bbbb".into(), 2);
        assert_eq!(cache.get("aaaa"), Some(1));
        cache.put("cccc".into(), 3);
        assert_eq!(["aaaa", "bbbb", "cccc"].map(|key| cache.get(key)), [Some(1), None, Some(3)]);
        cache.put("too much for it".into(), 4);
        assert_eq!(["aaaa", "cccc", "too much for it"].map(|key| cache.get(key)), [None; 3]);
    }
}
