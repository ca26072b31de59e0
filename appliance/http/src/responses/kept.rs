//! Responses that later requests may refer to: the newest ones, in memory, each for the key that asked.
//!
//! Bounded by their number (`responses_kept`) and by their bytes; the oldest make room. Nothing is
//! written anywhere, and a restart forgets them. Next: `stored.rs`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::scopes::Digest;

/// Bytes of all of them: a thousand conversations of 64 KiB.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of one: the text of a million tokens, and no tree of it is large.
const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Bytes of one beside its texts, about.
const ENTRY_BYTES: usize = 512;
/// Bytes of an output item's id, about, with its place.
const OUTPUT_BYTES: usize = 128;

/// The key that asked; nobody's where every route is open.
pub(crate) type Owner = Option<Digest>;

/// One response.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    /// The object, as it was answered.
    pub(crate) response: Bytes,
    /// Ids of its output items.
    pub(crate) outputs: Vec<String>,
    /// The items that it answers, those before them included, as a list.
    pub(crate) items: Bytes,
}

/// All that are kept.
#[derive(Debug)]
pub(crate) struct Kept {
    count_max: usize,
    bytes_max: usize,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    /// By age.
    entries: BTreeMap<u64, Arc<Entry>>,
    /// Ages by the ids of responses and of their output items.
    ages: HashMap<String, u64>,
    next: u64,
    bytes: usize,
}

impl Kept {
    /// 0 keeps none.
    pub(crate) fn new(count_max: usize) -> Self {
        Self { count_max, bytes_max: BYTES_MAX, all: Mutex::default() }
    }

    /// True if one of so many bytes is kept.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        self.count_max > 0 && bytes <= ENTRY_BYTES_MAX
    }

    /// Keeps one; the oldest make room.
    pub(crate) fn add(&self, mut entry: Entry) {
        // Copies: a text that was written has room for more.
        entry.response = Bytes::copy_from_slice(&entry.response);
        entry.items = Bytes::copy_from_slice(&entry.items);
        let mut all = self.all();
        let age = all.next;
        all.next += 1;
        all.bytes += entry.bytes();
        all.ages.extend(entry.ids().map(|id| (id.to_owned(), age)));
        all.entries.insert(age, Arc::new(entry));
        while all.entries.len() > self.count_max || all.bytes > self.bytes_max {
            let Some(oldest) = all.entries.first_key_value().map(|(age, _)| *age) else { break };
            all.forget(oldest);
        }
    }

    /// The one of that id, its own or an output item's, for who asked for it.
    pub(crate) fn find(&self, id: &str, owner: Owner) -> Option<Arc<Entry>> {
        let all = self.all();
        let entry = all.entries.get(all.ages.get(id)?)?;
        (entry.owner == owner).then(|| Arc::clone(entry))
    }

    /// Forgets the response of that id; false if there is none.
    pub(crate) fn remove(&self, id: &str, owner: Owner) -> bool {
        let mut all = self.all();
        let Some(age) = all.ages.get(id).copied() else { return false };
        let is_own = |entry: &Arc<Entry>| entry.owner == owner && entry.id == id;
        let found = all.entries.get(&age).is_some_and(is_own);
        if found {
            all.forget(age);
        }
        found
    }

    fn all(&self) -> MutexGuard<'_, All> {
        // A poisoned one is whole: no panic can come between the lines above.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn forget(&mut self, age: u64) {
        let Some(entry) = self.entries.remove(&age) else { return };
        self.bytes -= entry.bytes();
        for id in entry.ids() {
            self.ages.remove(id);
        }
    }
}

impl Entry {
    fn ids(&self) -> impl Iterator<Item = &str> {
        let outputs = self.outputs.iter().map(String::as_str);
        std::iter::once(self.id.as_str()).chain(outputs)
    }

    fn bytes(&self) -> usize {
        let outputs = self.outputs.len() * OUTPUT_BYTES;
        ENTRY_BYTES + self.response.len() + self.items.len() + outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, key: Option<u8>, bytes: usize) -> Entry {
        Entry {
            id: id.to_owned(),
            owner: key.map(|key| [key; 32]),
            response: Bytes::from(vec![0; bytes]),
            outputs: vec![format!("msg_{id}")],
            items: Bytes::new(),
        }
    }

    fn ids(kept: &Kept) -> Vec<String> {
        kept.all().entries.values().map(|entry| entry.id.clone()).collect()
    }

    #[test]
    fn the_oldest_make_room_by_number_and_by_bytes() {
        let kept = Kept { bytes_max: 10_000, ..Kept::new(3) };
        ["a", "b", "c", "d"].into_iter().for_each(|id| kept.add(entry(id, None, 10)));
        assert_eq!(ids(&kept), ["b", "c", "d"]);
        kept.add(entry("e", None, 8500));
        assert_eq!(ids(&kept), ["d", "e"]);
        kept.add(entry("f", None, 20_000));
        assert_eq!(ids(&kept), [""; 0], "one that is larger than all may be");
        assert_eq!(kept.all().bytes, 0);
        assert_eq!(kept.all().ages.len(), 0);
        let none = Kept::new(0);
        none.add(entry("a", None, 10));
        assert!(!none.takes(0) && ids(&none).is_empty());
        assert!(kept.takes(ENTRY_BYTES_MAX) && !kept.takes(ENTRY_BYTES_MAX + 1));
    }

    #[test]
    fn each_key_finds_its_own_only() {
        let kept = Kept::new(9);
        kept.add(entry("a", Some(1), 10));
        kept.add(entry("b", None, 10));
        for (id, key, expect) in [
            ("a", Some(1), true),
            ("a", Some(2), false),
            ("a", None, false),
            ("b", None, true),
            ("b", Some(1), false),
            ("c", None, false),
        ] {
            let owner = key.map(|key| [key; 32]);
            assert_eq!(kept.find(id, owner).is_some(), expect, "{id} {key:?}");
            let output = format!("msg_{id}");
            assert_eq!(kept.find(&output, owner).is_some(), expect, "{id} {key:?}");
        }
        assert!(!kept.remove("msg_a", Some([1; 32])));
        assert!(!kept.remove("a", Some([2; 32])) && kept.remove("a", Some([1; 32])));
        assert!(!kept.remove("a", Some([1; 32])));
        assert_eq!(ids(&kept), ["b"]);
    }
}
