//! WHEN: continuous batching as a sans-io state machine.
//!
//! Requests go in by `admit` and `cancel`; `schedule` writes the next legal step for the device;
//! `commit` takes its outcome and says what became of whom. Time is an argument.
//!
//! # Invariants
//! - Absent: tokio, clocks, threads, sockets, logging, devices, text.
//! - Every admitted request ends with exactly one `Finished` event per choice.

mod request;

pub use request::{
    Event, Finish, Micros, Policy, Priority, Refusal, Request, RequestId, SampleEvent, Stats,
};
