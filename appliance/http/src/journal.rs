//! The newest refusals and errors, for `/status`: when, by which route, with which status and code.
//!
//! Nothing a client wrote stands in it: no prompt, no header, no path, no name. Only requests that
//! are refused or fail come by here, so its lock is none of the others' business. Next: `status.rs`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::fault::{Fault, Kind};

/// Entries that are kept: what fits a screen.
const ENTRIES_MAX: usize = 20;

/// What a response tells the journal by an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    code: &'static str,
    message: String,
}

impl Note {
    /// The fault in words that are ours alone.
    pub(crate) fn of(fault: &Fault) -> Self {
        let message = match fault.kind {
            Kind::UnknownModel => "there is no model of that name".to_owned(),
            Kind::UnknownRoute => "there is no such route".to_owned(),
            Kind::Method => "the route does not take this method".to_owned(),
            Kind::Forbidden => "a web page or a name that is not allowed".to_owned(),
            // Their messages may quote what is wrong; the client has read it.
            Kind::Invalid | Kind::Unsupported => {
                let what = fault.field.as_deref().unwrap_or("the body");
                let verdict = match fault.kind {
                    Kind::Invalid => "is not valid",
                    _ => "asks for what is not supported",
                };
                format!("{what} {verdict}")
            }
            Kind::TooLong
            | Kind::BodyTooLarge
            | Kind::BodyTooSlow
            | Kind::MediaType
            | Kind::QueueFull
            | Kind::Deadline
            | Kind::TimedOut
            | Kind::Loading
            | Kind::Draining
            | Kind::Unavailable
            | Kind::Internal => fault.message.clone(),
        };
        Self { code: fault.kind.code(), message }
    }
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
    pub(crate) fn json(&self) -> Vec<Value> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |Entry { unix_ms, route, status, note, count }: &Entry| {
            json!({
                "unix_ms": unix_ms,
                "route": route,
                "status": status,
                "code": note.code,
                "message": note.message,
                "count": count,
            })
        };
        entries.iter().rev().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(journal: &Journal, at: u64, route: &str, kind: Kind) {
        let note = Note::of(&Fault::new(kind, "secret"));
        journal.add(at, route, StatusCode::BAD_REQUEST, note);
    }

    #[test]
    fn the_oldest_makes_room_and_the_like_is_counted() {
        let journal = Journal::default();
        for at in 0..50 {
            add(&journal, at, &format!("/{at}"), Kind::Invalid);
        }
        add(&journal, 50, "/40", Kind::Invalid);
        let entries = journal.json();
        assert_eq!(entries.len(), ENTRIES_MAX);
        let head = |i: usize| (entries[i]["route"].clone(), entries[i]["count"].clone());
        assert_eq!(head(0), (json!("/40"), json!(2)));
        assert_eq!(head(1), (json!("/49"), json!(1)));
        assert_eq!(entries.last().map(|e| e["route"].clone()), Some(json!("/30")));
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
        assert!(!format!("{:?}", journal.json()).contains("secret"));
        assert_eq!(journal.json().len(), 5);
    }
}
