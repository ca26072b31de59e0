//! Routes and wire types: SageMaker's contract, LMI's and OpenAI's schemas, metrics.
//!
//! Reading order: `state` (which model serves, which phase the boot is in), `serve` and `socket`
//! (sockets), `connections` (places), `peer` and `hangup` (who asks, and who has left), `routes` (all of them) and `router` (what answers),
//! `scopes`, `keys` and `key_file` (who may), `work`
//! (threads that are not sockets'), `access` (ids, log, counts) with `repeats`, `body` and `budget` (bytes), `names`,
//! `fields`, `members`, `typed`, `places`, `schemas` and `weight` (bytes to members), `kinds` and `fault` (every error in every schema), `generations`, `whole` and `stream` (answers), `lmi/`,
//! `openai/` (with `sampling` for both), `anthropic/`, `responses/`, `ollama/`, `llamacpp/`, `exposition` and `alias` (metrics), `described`, `operations` and `openapi`, `boot`, `journal`,
//! `status` and `dashboard` (a page for people, and what it shows).
//!
//! # Use
//! ```no_run
//! # async fn example(service: std::sync::Arc<gimbal_engine::Service>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use gimbal_http::{AppState, Exposition, HttpSettings, serve};
//!
//! let exposition = Exposition::install().ok(); // before the first service starts
//! let state = AppState::new(HttpSettings::default(), exposition);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! let edge = tokio::spawn(serve(listener, state.clone(), async { /* until shutdown */ }));
//! state.set_phase("open", None); // `/ping` is 503 with the phase
//! state.add_model(service)?; // now it is 200
//! # edge.await??;
//! # Ok(()) }
//! ```
//!
//! # Invariants
//! - A permit is taken before a prompt is tokenised; a full queue is refused without the engine.
//! - No header, prompt or token is ever logged.
//! - Everything is bounded: connections, heads, bodies, all bodies together, frames, time.
//! - Absent: devices, schedulers, settings' sources.

#![forbid(unsafe_code)]

mod access;
mod alias;
mod anthropic;
mod body;
mod boot;
mod budget;
mod call;
mod connections;
mod copies;
mod dashboard;
mod described;
mod exposition;
mod fault;
mod fields;
mod framing;
mod generations;
mod hangup;
mod journal;
mod key_file;
mod keys;
mod kinds;
mod llamacpp;
mod lmi;
mod members;
mod names;
mod ollama;
mod openai;
mod openapi;
mod operations;
mod peer;
mod places;
mod repeats;
mod responses;
mod router;
mod routes;
mod sampling;
mod schemas;
mod scopes;
mod serve;
mod settings;
mod socket;
mod state;
mod status;
mod stream;
mod structured;
mod typed;
mod web;
mod weight;
mod whole;
mod work;

pub use boot::About;
pub use exposition::Exposition;
pub use keys::{Keys, KeysError};
pub use serve::serve;
pub use settings::HttpSettings;
pub use state::AppState;
pub use web::WebRules;
