//! Tests of the edge: a real TCP server on the simulated device, and a client by hand.
//!
//! Reading order: `rig` (server), `client` (HTTP by hand), `contract` (every situation, its
//! status and its body), `answers` (shapes, and equality over routes), `scores` (log probabilities of prompts), `clients` (what they rely on), `metrics`, `lmi` (its schema, and TGI's), `messages` (Anthropic's), `responses` (OpenAI's newer one), `ollama`, `llamacpp`, `limits` (full queues, bad
//! clients), `keys` (who may), `overload` (during a two-second step), `losses` (a killed device), `boot` (before and
//! after serving), `dashboard` (the page and `/status`), `readings` (how devices are).

mod answers;
mod boot;
mod client;
mod clients;
mod contract;
mod dashboard;
mod guests;
mod keys;
mod limits;
mod llamacpp;
mod lmi;
mod losses;
mod messages;
mod metrics;
mod names;
mod ollama;
mod openapi;
mod overload;
mod readings;
mod responses;
mod rig;
mod scores;
