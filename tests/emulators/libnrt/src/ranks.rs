//! Ranks of one program, a thread each: they wait for each other before any begins.
//!
//! Next: `execution.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use gimbal_hlo::Exchange;
use neuron_sys::Status;

use crate::refusal::{Answer, refuse};
use crate::state::Model;

/// The ranks of a program that wait.
#[derive(Debug)]
struct Group {
    /// Which have come.
    ranks: Vec<u32>,
    /// What they exchange by, once all have.
    exchange: Arc<Exchange>,
}

/// By the program's digest.
static GROUPS: Mutex<BTreeMap<[u8; 32], Group>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

/// Waits for a model's other ranks; each call of a rank is another meeting.
pub(crate) fn meet(model: &Model, timeout: Duration) -> Answer<Arc<Exchange>> {
    let (rank, count) = model.rank;
    let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    let group = groups.entry(model.digest).or_insert_with(|| Group {
        ranks: Vec::new(),
        exchange: Arc::new(Exchange::new(count as usize)),
    });
    if group.ranks.contains(&rank) {
        return refuse(Status::EXEC_NC_BUSY, format!("rank {rank} waits for the others already"));
    }
    group.ranks.push(rank);
    let exchange = group.exchange.clone();
    if group.ranks.len() == count as usize {
        groups.remove(&model.digest);
        CHANGED.notify_all();
        return Ok(exchange);
    }
    let is_waiting = |groups: &mut BTreeMap<[u8; 32], Group>| {
        // Another meeting of the same program may have begun by then.
        let group = groups.get(&model.digest);
        group.is_some_and(|group| Arc::ptr_eq(&group.exchange, &exchange))
    };
    let waited = CHANGED.wait_timeout_while(groups, timeout, |groups| is_waiting(groups));
    let (mut groups, _) = waited.unwrap_or_else(PoisonError::into_inner);
    if !is_waiting(&mut groups) {
        return Ok(exchange);
    }
    let come = groups.get(&model.digest).map_or(0, |group| group.ranks.len());
    if let Some(group) = groups.get_mut(&model.digest) {
        group.ranks.retain(|other| *other != rank);
    }
    refuse(Status::TIMEOUT, format!("{come} of {count} ranks came"))
}
