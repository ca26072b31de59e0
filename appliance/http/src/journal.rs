//! The newest refusals and errors, for `/status`: when, by which route, with which status and code.
//!
//! Nothing a client wrote stands in it: no prompt, no header, no path, no name. Only requests that
//! are refused or fail come by here, so its lock is none of the others' business. Next: `status.rs`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Entries that are kept: what fits a screen.
const ENTRIES_MAX: usize = 20;

/// What a response tells the journal by an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What is told of one kind of event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refused {
    /// When, the last time.
    unix_ms: u64,
    route: String,
    status: u16,
    /// The error's code, as in its body.
    code: &'static str,
    /// In our words: nothing of the request.
    message: String,
    count: u64,
}

/// One kind of event.
#[derive(Debug)]
struct Entry {
    unix_ms: u64,
    route: String,
    status: u16,
    note: Note,
    count: u64,
}

impl Entry {
    /// A flood of one kind is one entry.
    fn is_like(&self, other: &Self) -> bool {
        let key = |entry: &Self| (entry.status, entry.note.code);
        key(self) == key(other) && self.route == other.route
    }
}

/// The newest entries; the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<VecDeque<Entry>>);

impl Journal {
    /// Adds what happened, or counts it where the like of it is there already.
    pub(crate) fn add(&self, unix_ms: u64, route: &str, status: StatusCode, note: Note) {
        let (route, status) = (route.to_owned(), status.as_u16());
        let mut entry = Entry { unix_ms, route, status, note, count: 1 };
        // A poisoned list is whole: no panic can come between the lines below.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = entries.iter().position(|e| e.is_like(&entry)) {
            entry.count += entries.remove(index).map_or(0, |same| same.count);
        }
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// The newest first.
    pub(crate) fn told(&self) -> Vec<Refused> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |Entry { unix_ms, route, status, note, count }: &Entry| Refused {
            unix_ms: *unix_ms,
            route: route.clone(),
            status: *status,
            code: note.code,
            message: note.message.clone(),
            count: *count,
        };
        entries.iter().rev().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Kind};

    fn add(journal: &Journal, at: u64, route: &str, kind: Kind) {
        let note = Fault::new(kind, "secret").note();
        journal.add(at, route, StatusCode::BAD_REQUEST, note);
    }

    #[test]
    fn the_oldest_makes_room_and_the_like_is_counted() {
        let journal = Journal::default();
        for at in 0..50 {
            add(&journal, at, &format!("/{at}"), Kind::Invalid);
        }
        add(&journal, 50, "/40", Kind::Invalid);
        let entries = journal.told();
        assert_eq!(entries.len(), ENTRIES_MAX);
        let head = |i: usize| (entries[i].route.as_str(), entries[i].count);
        assert_eq!([head(0), head(1)], [("/40", 2), ("/49", 1)]);
        assert_eq!(entries.last().map(|e| e.route.as_str()), Some("/30"));
    }

    #[test]
    fn what_a_client_wrote_is_not_kept() {
        let journal = Journal::default();
        let quoting = [
            Kind::Invalid,
            Kind::Unsupported,
            Kind::UnknownModel,
            Kind::UnknownRoute,
            Kind::Method,
        ];
        quoting.into_iter().for_each(|kind| add(&journal, 0, "/", kind));
        assert!(!format!("{:?}", journal.told()).contains("secret"));
        assert_eq!(journal.told().len(), 5);
    }
}
