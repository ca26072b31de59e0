//! Models on their way into a server: unpack, plan, open, warm, serve; one after the other.
//!
//! One that cannot be opened is its own error as long as another one serves.

use std::sync::Arc;

use gimbal_engine::{Loading, Service};
use gimbal_http::AppState;
use gimbal_settings::Ignored;
use tracing::{error, info, warn};

use super::plan::Devices;
use crate::cli::Wanted;
use crate::failure::Failure;
use crate::source::Progress;

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
    let open = move || open(&devices, loading, wanted, &phases);
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
    wanted: Wanted,
    state: &AppState,
) -> Result<(Loading, Arc<Service>), Failure> {
    let Wanted { name, path, settings, .. } = &match arrived(wanted, loading.as_ref(), state) {
        Ok(wanted) => wanted,
        Err(failure) => return Err(failed(loading, failure)),
    };
    state.set_phase("plan", None);
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

/// The model where it can be opened: what is to be unpacked is, and `/ping` and the log say how far
/// that is.
fn arrived(wanted: Wanted, loading: Option<&Loading>, state: &AppState) -> Result<Wanted, Failure> {
    let known = wanted.settings.ignored().to_vec();
    let (mut told_doing, mut told_tenth) = ("", 0);
    let arrived = wanted.arrived(&mut |progress| {
        let Progress { doing, archive, folder, share } = *progress;
        state.set_phase("unpack", Some(share));
        let tenth = tenth(share);
        if (doing, tenth) == (told_doing, told_tenth) {
            return;
        }
        (told_doing, told_tenth) = (doing, tenth);
        if let Some(loading) = loading {
            loading.phase("unpack");
        }
        let folder = folder.map(|folder| folder.display().to_string());
        info!(archive = %archive.display(), folder, doing, percent = tenth * 10, "a model arrives");
    })?;
    for told in arrived.settings.ignored().iter().filter(|told| !known.contains(told)) {
        let Ignored { name, source, why, is_loud } = told;
        match is_loud {
            true => warn!(name, %source, why, "ignored"),
            false => info!(name, %source, why, "ignored"),
        }
    }
    Ok(arrived)
}

fn tenth(share: f32) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to 10")]
    #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
    let tenth = (share * 10.0) as u8;
    tenth
}

fn failed(loading: Option<Loading>, failure: Failure) -> Failure {
    if let Some(loading) = loading {
        loading.fail(&failure.to_string());
    }
    failure
}

#[cfg(test)]
mod tests;
