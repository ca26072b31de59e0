//! The routes of what is kept: a response, its end, and the items that it answers.
//!
//! Next: `../router.rs`.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, Uri};
use serde_json::Value;

use super::kept::{Entry, Owner};
use super::shapes::{Deleted, InputItems};
use crate::call::{self, Call};
use crate::fault::{Fault, Kind};
use crate::state::SHOWN_MAX;
use crate::whole;

/// Items of a page, as OpenAI's.
const PAGE_DEFAULT: usize = 20;
const PAGE_MAX: usize = 100;

/// One response, as it was answered.
pub(crate) fn response(call: &Call, uri: &Uri, id: &str) -> Result<Response<Body>, Fault> {
    for (name, value) in query(uri) {
        match (name, value) {
            // Everything there is stands in it already.
            ("stream", "false") | ("include" | "include[]", _) => {}
            (name, _) => return Err(refused(name)),
        }
    }
    whole::json(call, find(call, id)?.response.clone())
}

/// Forgets a response.
pub(crate) fn delete(call: &Call, id: &str) -> Result<Response<Body>, Fault> {
    match call.app.kept().remove(id, owner(call)) {
        true => Ok(call::json(&Deleted { id, object: "response", deleted: true })),
        false => Err(unknown(id)),
    }
}

/// The items that a response answers, a page of them; the newest first unless asked otherwise.
pub(crate) fn items(call: &Call, uri: &Uri, id: &str) -> Result<Response<Body>, Fault> {
    let entry = find(call, id)?;
    let (mut limit, mut is_rising, mut after) = (PAGE_DEFAULT, false, None);
    for (name, value) in query(uri) {
        match name {
            "limit" => match value.parse() {
                Ok(n @ 1..=PAGE_MAX) => limit = n,
                _ => return Err(Fault::field(name, format!("must be from 1 to {PAGE_MAX}"))),
            },
            "order" => match value {
                "asc" | "desc" => is_rising = value == "asc",
                _ => return Err(Fault::field(name, "must be \"asc\" or \"desc\"")),
            },
            "after" => after = Some(value),
            "include" | "include[]" => {}
            name => return Err(refused(name)),
        }
    }
    let mut all: Vec<Value> = serde_json::from_slice(&entry.items).unwrap_or_default();
    if !is_rising {
        all.reverse();
    }
    let from = match after {
        None => 0,
        Some(id) => match all.iter().position(|item| item["id"] == id) {
            Some(at) => at + 1,
            None => return Err(Fault::field("after", "no item of this response has that id")),
        },
    };
    let mut data = all.split_off(from);
    let has_more = data.len() > limit;
    data.truncate(limit);
    let id = |item: Option<&Value>| item?["id"].as_str().map(str::to_owned);
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    let page = InputItems { object: "list", data, first_id, last_id, has_more };
    whole::json(call, call::json_bytes(&page))
}

/// The response of that id, for who asked for it.
fn find(call: &Call, id: &str) -> Result<Arc<Entry>, Fault> {
    let found = call.app.kept().find(id, owner(call)).filter(|entry| entry.id == id);
    found.ok_or_else(|| unknown(id))
}

fn owner(call: &Call) -> Owner {
    call.app.settings().keys.owner(&call.headers)
}

fn unknown(id: &str) -> Fault {
    let id: String = id.chars().take(SHOWN_MAX).collect();
    let message = format!("no response {id:?} is kept here (any more); responses_kept keeps more");
    Fault::new(Kind::UnknownRoute, message)
}

fn refused(name: &str) -> Fault {
    let name: String = name.chars().take(SHOWN_MAX).collect();
    Fault::unsupported(&name)
}

/// The pairs of a query; ids and words need no escapes.
fn query(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}
