//! Things with stable keys: a vector whose holes are filled again.
//!
//! Keys are reused after `remove`; who holds a key must know that its thing lives. Next:
//! `blocks.rs`.

use std::ops::{Index, IndexMut};

/// A vector with holes.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    items: Vec<Option<T>>,
    holes: Vec<usize>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { items: Vec::new(), holes: Vec::new() }
    }

    /// Stores `item` and names it.
    pub(crate) fn insert(&mut self, item: T) -> usize {
        if let Some(key) = self.holes.pop() {
            self.items[key] = Some(item);
            return key;
        }
        self.items.push(Some(item));
        self.items.len() - 1
    }

    /// Takes the thing out; its key will name another one.
    pub(crate) fn remove(&mut self, key: usize) -> T {
        let item = self.items[key].take().expect("a held key names a living thing");
        self.holes.push(key);
        item
    }

    /// Everything that lives, with keys, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.items.iter().enumerate().filter_map(|(key, item)| Some((key, item.as_ref()?)))
    }

    /// Keys that may be alive: `0..bound`.
    pub(crate) fn bound(&self) -> usize {
        self.items.len()
    }

    /// The thing, if it lives.
    pub(crate) fn find(&self, key: usize) -> Option<&T> {
        self.items.get(key)?.as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.len() == self.holes.len()
    }
}

impl<T> Index<usize> for Slab<T> {
    type Output = T;

    fn index(&self, key: usize) -> &T {
        self.items[key].as_ref().expect("a held key names a living thing")
    }
}

impl<T> IndexMut<usize> for Slab<T> {
    fn index_mut(&mut self, key: usize) -> &mut T {
        self.items[key].as_mut().expect("a held key names a living thing")
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn holes_are_filled_again() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), 'a');
        assert_eq!(slab.insert('c'), a);
        assert_eq!((slab[a], slab[b]), ('c', 'b'));
        assert_eq!(slab.iter().count(), 2);
        assert!(!slab.is_empty());
        slab.remove(a);
        slab.remove(b);
        assert!(slab.is_empty());
    }
}
