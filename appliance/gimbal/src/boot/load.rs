//! Models on their way into a server: plan, open, warm, serve; one after the other.
//!
//! One that cannot be opened is its own error as long as another one serves.

use std::sync::Arc;

use gimbal_engine::{Loading, Service};
use gimbal_http::AppState;
use tracing::{error, info};

use super::plan::Devices;
use crate::cli::Wanted;
use crate::failure::Failure;

/// Loads all models of a boot, in order.
///
/// # Errors
/// None of them could be loaded: why the first could not.
pub(crate) async fn load_all(
    devices: &Arc<Devices>,
    wanted: Vec<Wanted>,
    state: &AppState,
) -> Result<(), Failure> {
    let is_one = wanted.len() == 1;
    // All names are there from the beginning, so that requests hear that their model loads.
    let begin = |wanted: Wanted| {
        let named = wanted.name.as_deref().map(|name| state.models().begin(name));
        Ok((named.transpose().map_err(Failure::usage)?, wanted))
    };
    let wanted = wanted.into_iter().map(begin).collect::<Result<Vec<_>, Failure>>()?;
    let (mut first_failure, mut is_any) = (None, false);
    for (loading, wanted) in wanted {
        let path = wanted.path.clone();
        match load(devices, loading, wanted, state).await {
            Ok(()) => is_any = true,
            Err(failure) if is_one => return Err(failure),
            Err(failure) => {
                error!(path = %path.display(), why = %failure, "a model cannot be loaded");
                first_failure.get_or_insert(failure);
            }
        }
    }
    match first_failure {
        Some(failure) if !is_any => Err(failure),
        _ => Ok(()),
    }
}

async fn load(
    devices: &Arc<Devices>,
    loading: Option<Loading>,
    wanted: Wanted,
    state: &AppState,
) -> Result<(), Failure> {
    let (devices, phases) = (Arc::clone(devices), state.clone());
    // Everything between listening and the first token, off the sockets' threads.
    let open = move || open(&devices, loading, &wanted, &phases);
    let (loading, service) =
        tokio::task::spawn_blocking(open).await.map_err(anyhow::Error::from)??;
    state.set_phase("warm", None);
    loading.phase("warm");
    match service.warm_up().await {
        Ok(first) => {
            let token_ms = u64::try_from(first.took.as_millis()).unwrap_or(u64::MAX);
            info!(model = service.name(), token_ms, "warm");
            loading.serve(service);
            Ok(())
        }
        Err(why) => {
            loading.fail(&format!("warm: {why}"));
            Err(Failure::unavailable(format!("warm: {why}")))
        }
    }
}

fn open(
    devices: &Devices,
    loading: Option<Loading>,
    wanted: &Wanted,
    state: &AppState,
) -> Result<(Loading, Arc<Service>), Failure> {
    state.set_phase("plan", None);
    let Wanted { name, path, settings } = wanted;
    let plan = match devices.plan(name.as_deref(), settings, path) {
        Ok(plan) => plan,
        Err(failure) => return Err(failed(loading, failure)),
    };
    let begin = || state.models().begin(plan.name()).map_err(Failure::usage);
    let loading = loading.map_or_else(begin, Ok)?;
    state.set_phase("open", None);
    loading.phase("open");
    match plan.open() {
        Ok(service) => Ok((loading, service)),
        Err(failure) => Err(failed(Some(loading), failure)),
    }
}

fn failed(loading: Option<Loading>, failure: Failure) -> Failure {
    if let Some(loading) = loading {
        loading.fail(&failure.to_string());
    }
    failure
}

#[cfg(test)]
mod tests;
