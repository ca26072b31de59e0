//! The lane's loop, and the way of a request through it: joins scheduler, hal and text.
//!
//! ```text
//! parse → tokenize → admit → schedule → submit → collect → commit → stream
//! └──── tokio tasks ─────┘   └────── a lane's own thread ────────┘  └ tokio ┘
//! ```
//!
//! # Use
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use gimbal_engine::*;
//! # use gimbal_hal::{Backend, DeviceError};
//! # fn open() -> Result<Box<dyn Backend>, DeviceError> { Err(DeviceError::Lost { why: String::new() }) }
//! # async fn example(policy: gimbal_scheduler::Policy, data: gimbal_text::TokenizerData)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! let tokenizer = Arc::new(gimbal_text::Tokenizer::new(&data)?);
//! let template = gimbal_text::ChatTemplate::new("…", tokenizer.bos_text(), tokenizer.eos_text())?;
//! let lanes = vec![LaneSource { backend: open()?, reopen: Box::new(open) }];
//! let config = ServiceConfig::new("smollm2", tokenizer, policy, lanes);
//! let service = Service::start(ServiceConfig { template: Some(Arc::new(template)), ..config })?;
//! let first = service.warm_up().await?; // one real token; then `/ping` may say 200
//! let request = GenerateRequest::new(Prompt::Text("Hello".into()));
//! let mut generation = service.generate(request).await?;
//! while let Some(delta) = generation.next().await {
//!     // delta.text, delta.token, delta.finish
//! }
//! service.drain(Duration::from_secs(28)).await;
//! # Ok(()) }
//! ```
//! Everything async needs a tokio runtime with time enabled. A metrics recorder is installed before
//! `Service::start`, or nothing is recorded.
//!
//! # Shutdown
//! 1. SIGTERM: [`Service::close`]; `/ping` is 503, new requests are refused with a reason;
//! 2. streams go on until they end or the budget is spent ([`Service::drain`]);
//! 3. the lanes end what is left with an error that says so, and stop; each drops its backend on
//!    its own thread, then the thread is joined;
//! 4. the edge flushes the last frames and closes its connections;
//! 5. the process exits, at most 28 s after 1.
//!
//! Reading order: `request` (asked and answered), `constraint`, `grammar`, `refusal`, `gate` (permits), `lane/` (the
//! thread, its device, losses and bugs), `generation` (tokens to text), `validation`,
//! `text_pool` (threads for texts), `prompt`, `service`, `edge` (how its requests are taken), `registry` (all
//! models) and `ledger` (the memory they claim), `readings` (of devices), `health`, `drain`,
//! `meters` (all metrics in one table), `record` (a lane's).
//!
//! # Invariants
//! - One thread touches a scheduler and its backend; it never waits for a client.
//! - Every channel is bounded by what can be in it: two commands a permit, one event a token.
//! - A permit is held from *parse* until the lane has forgotten the request.
//! - Every admitted choice ends with exactly one [`FinishReason`].
//! - A panic costs at most the requests of one lane.
//! - Absent: HTTP, wire formats, settings, files, platforms.

#![forbid(unsafe_code)]

mod clock;
mod constraint;
mod drain;
mod edge;
mod gate;
mod generation;
mod grammar;
mod health;
mod lane;
mod ledger;
pub mod meters;
mod place;
mod prompt;
mod readings;
mod record;
mod refusal;
mod registry;
mod request;
mod service;
pub mod text_pool;
mod validation;
mod warm;

pub use clock::Clock;
pub use constraint::{Constrain, Constraint, Ready};
pub use drain::Drained;
pub use edge::{Edge, OutputFormatter, Parser};
pub use gate::Permit;
pub use generation::Generation;
pub use health::Health;
pub use lane::{Condition, LaneSource, LaneState, Reopen};
pub use ledger::{Claimed, Ledger};
pub use place::{Made, Place};
pub use readings::{Ask, Readings};
pub use refusal::{QueueNumbers, Refusal};
pub use registry::{Entry, Loading, ModelState, Models, ModelsError};
pub use request::{
    Completed, Delta, FinishReason, GenerateRequest, Prompt, PromptScore, TokenInfo, Turn, Usage,
    Wanted,
};
pub use service::{Service, ServiceConfig};
pub use warm::{NotWarm, WarmUp};

pub use gimbal_batch::SampleParams;
pub use gimbal_hal::Reading;
pub use gimbal_scheduler::{Client, Drafts, Micros, Policy, Priority, Stats};
