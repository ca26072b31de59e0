//! `/status`: what metrics cannot hold. Health, the boot's phases, names and limits, the newest
//! refusals.
//!
//! Figures that change by the second are in `/metrics` and only there. Next: `dashboard.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Health, Service};
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
        "platform": about.platform,
        "device": about.device,
        "is_simulated": about.is_simulated,
        "boot": app.boot(),
        "models": app.models().iter().map(|model| of_model(model)).collect::<Vec<_>>(),
        "refusals": app.journal().json(),
    })
}

fn of_model(model: &Service) -> Value {
    let (limits, policy, lanes) = (model.limits(), model.policy(), model.states().len());
    let state = match model.health() {
        Health::Serving => "serving",
        Health::Draining => "draining",
        Health::Failing { .. } => "failing",
    };
    json!({
        "id": model.name(),
        "state": state,
        "lanes": lanes,
        "max_model_len": model.max_model_len(),
        "max_rolling_batch_size": policy.max_rolling_batch_size,
        "job_queue_size": policy.job_queue_size,
        "slots": limits.sequences_max,
        "kv_block_tokens": limits.kv.block_tokens,
    })
}
