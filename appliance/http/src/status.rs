//! `/status`: what metrics cannot hold. Health, the boot's phases, names and limits, how devices are,
//! the newest refusals.
//!
//! Other figures that change by the second are in `/metrics` and only there. Next: `dashboard.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Condition, Entry, Health, ModelState, Reading, Service};
use serde_json::{Map, Value, json};

use crate::state::unix_ms;
use crate::{AppState, call, dashboard};

/// The answer.
pub(crate) fn response(app: &AppState) -> Response<Body> {
    let mut response = call::json(&body(app));
    dashboard::guard(&mut response);
    response
}

fn body(app: &AppState) -> Value {
    let mut health = Map::new();
    for name in ["state", "model", "phase", "progress", "reason"] {
        health.insert(name.to_owned(), Value::Null);
    }
    match app.unwell() {
        Some(Value::Object(why)) => health.extend(why),
        _ => drop(health.insert("state".to_owned(), "serving".into())),
    }
    let about = app.about();
    json!({
        "health": health,
        "now_unix_ms": unix_ms(),
        "started_unix_ms": app.started_unix_ms(),
        "version": about.version,
        "settings_hash": about.settings_hash,
        "boot": app.boot(),
        "models": app.models().list().iter().map(of_entry).collect::<Vec<_>>(),
        "devices": app.readings().list().iter().map(of_device).collect::<Vec<_>>(),
        "refusals": app.journal().json(),
    })
}

fn of_device((platform, reading): &(&'static str, Reading)) -> Value {
    json!({
        "platform": platform,
        "device": reading.device.as_str(),
        "memory_bytes": reading.memory_total_bytes,
        "memory_used_bytes": reading.memory_used_bytes,
        "load_ratio": reading.load,
        "temperature_celsius": reading.temperature,
        "errors": reading.errors,
    })
}

fn of_entry(entry: &Entry) -> Value {
    let (state, why) = match &entry.state {
        ModelState::Serving(service) | ModelState::Draining(service) => return of_model(service),
        ModelState::Loading { phase } => ("loading", Some(format!("phase {phase}"))),
        ModelState::Failed { why } => ("failed", Some(why.clone())),
    };
    json!({ "id": &*entry.name, "state": state, "reason": why })
}

fn of_model(model: &Service) -> Value {
    let (limits, policy, place) = (model.limits(), model.policy(), model.place());
    let (state, why) = match model.health() {
        Health::Serving => ("serving", None),
        Health::Draining => ("draining", None),
        Health::Failing { why } => ("failing", Some(why)),
    };
    let lanes = model.states().into_iter().enumerate().map(|(number, state)| {
        let (condition, why) = match state.condition {
            Condition::Running => ("running", None),
            Condition::Reopening { why } => ("reopening", Some(why)),
            Condition::Stopped { why } => ("stopped", Some(why)),
        };
        json!({
            "lane": number, "devices": place.lanes.get(number).cloned().unwrap_or_default(),
            "state": condition, "reason": why, "losses": state.stats.losses,
        })
    });
    let passed = place.passed.iter().map(|(name, why)| json!({ "platform": name, "why": why }));
    json!({
        "id": model.name(),
        "state": state,
        "reason": why,
        "platform": place.platform,
        "device": place.device,
        "is_simulated": place.is_simulated,
        "passed_over": passed.collect::<Vec<_>>(),
        "lanes": lanes.len(),
        "placement": lanes.collect::<Vec<_>>(),
        "max_model_len": model.max_model_len(),
        "max_rolling_batch_size": policy.max_rolling_batch_size,
        "job_queue_size": policy.job_queue_size,
        "slots": limits.sequences_max,
        "kv_block_tokens": limits.kv.block_tokens,
    })
}
