//! `/status`: what metrics cannot hold. Health, the boot's phases, names and limits, how devices are,
//! the newest refusals.
//!
//! Other figures that change by the second are in `/metrics` and only there. Next: `dashboard.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Condition, Entry, Health, ModelState, Reading, Service};
use serde::Serialize;
use utoipa::ToSchema;

use crate::boot::Boot;
use crate::journal::Refused;
use crate::state::{Unwell, unix_ms};
use crate::{AppState, call, dashboard};

/// The answer.
pub(crate) fn response(app: &AppState) -> Response<Body> {
    let mut response = call::json(&body(app));
    dashboard::guard(&mut response);
    response
}

/// What `/status` tells.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    health: StatusHealth,
    /// The server's clock.
    now_unix_ms: u64,
    started_unix_ms: u64,
    version: String,
    /// Equal settings have equal hashes.
    settings_hash: String,
    boot: Boot,
    /// Empty while loading.
    models: Vec<StatusModel>,
    /// How the devices are on which lanes are open, asked every 5 seconds; null is what a device does not
    /// tell. The same figures are in /metrics.
    devices: Vec<StatusDevice>,
    /// The newest refusals and errors, the newest first. The like of each other are one, with a count.
    refusals: Vec<Refused>,
}

/// Whether all is well: every member is there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusHealth {
    state: &'static str,
    #[schema(required = true)]
    model: Option<String>,
    #[schema(required = true)]
    phase: Option<String>,
    #[schema(required = true)]
    progress: Option<f32>,
    #[schema(required = true)]
    reason: Option<String>,
}

/// A device.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusDevice {
    platform: &'static str,
    /// Its stable id, as in placement.
    device: String,
    /// Memory it has; of the processor, what the process may have.
    #[schema(required = true)]
    memory_bytes: Option<u64>,
    /// Memory in use, by anybody.
    #[schema(required = true)]
    memory_used_bytes: Option<u64>,
    /// Share of the last seconds in which it computed.
    #[schema(required = true)]
    load_ratio: Option<f64>,
    /// Of the processor, its warmest sensor.
    #[schema(required = true)]
    temperature_celsius: Option<f64>,
    /// Errors it has corrected or reported since it was started.
    #[schema(required = true)]
    errors: Option<u64>,
}

/// A model, whatever it does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusModel {
    id: String,
    /// `loading`, `serving`, `draining`, `failing` or `failed`.
    state: &'static str,
    /// Why it does not serve; null where it does.
    #[schema(required = true)]
    reason: Option<String>,
    /// Where it can be asked.
    #[serde(flatten)]
    #[schema(value_type = Placed)]
    placed: Option<Placed>,
}

/// How a model is placed, and its limits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Placed {
    /// What computes: onnx.
    #[schema(required = false)]
    platform: String,
    /// The first device by its vendor's name.
    #[schema(required = false)]
    device: String,
    /// It answers from hashes, not from a model.
    #[schema(required = false)]
    is_simulated: bool,
    /// Platforms that were asked before, and why each was not taken.
    #[schema(required = false)]
    passed_over: Vec<Passed>,
    /// Independent copies.
    #[schema(required = false)]
    lanes: usize,
    /// Each lane: its devices by their stable ids, and what it does.
    #[schema(required = false)]
    placement: Vec<StatusLane>,
    /// Tokens of prompt and output.
    #[schema(required = false)]
    max_model_len: u32,
    /// Sequences that run together, for each lane.
    #[schema(required = false)]
    max_rolling_batch_size: u32,
    /// Requests that may wait.
    #[schema(required = false)]
    job_queue_size: u32,
    /// Sequences the device holds, for each lane.
    #[schema(required = false)]
    slots: u32,
    /// Tokens of a block of the KV cache.
    #[schema(required = false)]
    kv_block_tokens: u32,
}

/// A platform that was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Passed {
    platform: String,
    why: String,
}

/// A lane.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusLane {
    lane: usize,
    devices: Vec<String>,
    /// `running`, `reopening` or `stopped`.
    state: &'static str,
    #[schema(required = true)]
    reason: Option<String>,
    /// How often its devices were lost.
    losses: u64,
}

fn body(app: &AppState) -> Status {
    let health = match app.unwell() {
        Some(Unwell { state, model, phase, progress, reason }) => {
            StatusHealth { state, model, phase, progress: progress.flatten(), reason }
        }
        None => StatusHealth {
            state: "serving",
            model: None,
            phase: None,
            progress: None,
            reason: None,
        },
    };
    let about = app.about();
    Status {
        health,
        now_unix_ms: unix_ms(),
        started_unix_ms: app.started_unix_ms(),
        version: about.version,
        settings_hash: about.settings_hash,
        boot: app.boot(),
        models: app.models().list().iter().map(of_entry).collect(),
        devices: app.readings().list().iter().map(of_device).collect(),
        refusals: app.journal().told(),
    }
}

fn of_device((platform, reading): &(&'static str, Reading)) -> StatusDevice {
    StatusDevice {
        platform,
        device: reading.device.as_str().to_owned(),
        memory_bytes: reading.memory_total_bytes,
        memory_used_bytes: reading.memory_used_bytes,
        load_ratio: reading.load,
        temperature_celsius: reading.temperature,
        errors: reading.errors,
    }
}

fn of_entry(entry: &Entry) -> StatusModel {
    let (state, reason) = match &entry.state {
        ModelState::Serving(service) | ModelState::Draining(service) => return of_model(service),
        ModelState::Loading { phase } => ("loading", Some(format!("phase {phase}"))),
        ModelState::Failed { why } => ("failed", Some(why.to_string())),
    };
    StatusModel { id: entry.name.to_string(), state, reason, placed: None }
}

fn of_model(model: &Service) -> StatusModel {
    let (limits, policy, place) = (model.limits(), model.policy(), model.place());
    let (state, reason) = match model.health() {
        Health::Serving => ("serving", None),
        Health::Draining => ("draining", None),
        Health::Failing { why } => ("failing", Some(why)),
    };
    let lanes = model.states().into_iter().enumerate().map(|(lane, now)| {
        let (state, reason) = match now.condition {
            Condition::Running => ("running", None),
            Condition::Reopening { why } => ("reopening", Some(why)),
            Condition::Stopped { why } => ("stopped", Some(why)),
        };
        let devices = place.lanes.get(lane).cloned().unwrap_or_default();
        StatusLane { lane, devices, state, reason, losses: now.stats.losses }
    });
    let placement: Vec<StatusLane> = lanes.collect();
    let passed = place
        .passed
        .iter()
        .map(|(platform, why)| Passed { platform: platform.to_string(), why: why.to_string() });
    let placed = Placed {
        platform: place.platform.clone(),
        device: place.device.clone(),
        is_simulated: place.is_simulated,
        passed_over: passed.collect(),
        lanes: placement.len(),
        placement,
        max_model_len: model.max_model_len(),
        max_rolling_batch_size: policy.max_rolling_batch_size,
        job_queue_size: policy.job_queue_size,
        slots: limits.sequences_max,
        kv_block_tokens: limits.kv.block_tokens,
    };
    StatusModel { id: model.name().to_owned(), state, reason, placed: Some(placed) }
}
