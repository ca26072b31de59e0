//! WHEN: continuous batching as a sans-io state machine, and the batching of tensors as another.
//!
//! Requests go in by [`Scheduler::admit`] and [`Scheduler::cancel`]; [`Scheduler::schedule`]
//! writes the next legal step for the device; [`Scheduler::commit`] takes its outcome and says
//! what became of whom. Time is an argument.
//!
//! Reading order: `request` and `spans` (what goes in and out), `sequence` (the four counters), `scheduler`
//! (the state and its ends), `admission`, `plan`, `fairness` and `prompts` (who gets seats and rows), `step`,
//! `adapters`, `holding`, `commit`, `loss` (the
//! verbs), `shape` (what the
//! device allows), `blocks` and `key` (KV memory and the prefix cache), `drafts`, `pace`, `slab`. Beside
//! them stands `batcher` (models that do not generate).
//!
//! # Invariants
//! - Absent: tokio, clocks, threads, sockets, logging, devices, text.
//! - Every admitted request ends with exactly one `Finished` event per choice.
//! - A block is used, cached or free; a row is written only to a block with one owner.
//! - The same calls with the same arguments give the same steps and events.
#![doc = include_str!("../docs/scheduler.md")]
#![forbid(unsafe_code)]

mod adapters;
mod admission;
mod batcher;
mod blocks;
mod commit;
mod drafts;
mod fairness;
mod holding;
mod key;
mod loss;
mod pace;
mod plan;
mod prompts;
mod request;
mod scheduler;
mod sequence;
mod shape;
mod slab;
mod spans;
mod step;

pub use adapters::AdapterRefusal;
pub use batcher::{Batcher, BatcherPolicy, RowsRequest};
pub use request::{
    Client, Drafts, Event, Finish, Micros, Policy, Priority, PromptScores, Refusal, Request,
    RequestId, SampleEvent, Stats, TokenScore,
};
pub use scheduler::Scheduler;
pub use spans::Span;

/// A length as it crosses crates.
fn count(length: usize) -> u32 {
    u32::try_from(length).expect("bounded by tokens, blocks or slots, which are 32-bit")
}
