//! Plain data of one step: what a scheduler asks of a device and what the device answers.
//!
//! This crate is a leaf. It computes nothing and knows neither devices nor scheduling; it exists so that the scheduler and the backends can share words
//! without knowing each other.
//!
//! Reading order: `limits` (what a device can do), `step` (what is asked), `answer` (what comes
//! back), `token` (its name), `params` (how it is chosen), `accept` (what a device refuses), `check`
//! (when a batch is legal), `wire` (all of it as bytes).
//!
//! # Invariants
//! - Padding is absent: a batch holds only real rows. Padding belongs to the backend.
//! - Time, requests and text are absent.
//! - Every `Output` gets exactly one entry in the `Outcome`, in order.

mod accept;
mod answer;
mod check;
mod limits;
mod params;
mod step;
mod token;
pub mod wire;

pub use accept::Cannot;
pub use answer::{Answer, Outcome, RowFault, Score};
pub use check::Illegal;
pub use limits::{Bucket, Kv, Limits, Prefill, Sampling, Shape};
pub use params::{SampleParams, TokenMask};
pub use step::{
    Adapter, AdapterSlot, Batch, BlockId, Open, Output, Part, SeqSlot, StepId, Token, Want,
};
pub use token::TokenId;
