//! `gimbal serve`: listen first, then probe, plan, open and warm; drain on SIGTERM.
//!
//! The port answers from the first moment (`/ping` is 503 with the phase). A boot that fails ends
//! the process with the reason and its exit code, at once or, with `on_boot_failure: stay`, when it is told to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use gimbal_http::{About, AppState, Exposition, HttpSettings, Keys, WebRules};
use gimbal_settings::{Ignored, Settings};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::layers::Asked;
use super::listen;
use super::signals::Signals;
use crate::boot::{self, Devices};
use crate::config::Process;
use crate::failure::Failure;
use crate::host::host;
use crate::{logging, readiness};

/// Threads for sockets and text. They mostly wait; computing has its own.
const IO_THREADS: usize = 2;

/// Runs the command.
pub(crate) fn run(asked: Asked) -> Result<(), Failure> {
    logging::start(&asked.settings, None);
    readiness::clock(SystemTime::now())?;
    let open_files_max = readiness::raise_open_files()?;
    readiness::threads(computing(&asked.settings), IO_THREADS)?;
    let connections_max = readiness::connections_max(open_files_max);
    info!(open_files_max, connections_max, "descriptors");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(IO_THREADS).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::unavailable(format!("no threads: {e}")))?;
    let served = runtime.block_on(serve(asked, connections_max));
    // What hangs in a file system or a template must not keep the process.
    runtime.shutdown_background();
    served
}

/// Threads that will compute.
fn computing(settings: &Settings) -> usize {
    Process::of(settings).threads.unwrap_or_else(|| host().cores) as usize
}

async fn serve(asked: Asked, connections_max: usize) -> Result<(), Failure> {
    let started = Instant::now();
    tell_ignored(&asked);
    let Asked { settings, models } = asked;
    let settings = &settings;
    let exposition = Exposition::install().map_err(anyhow::Error::from)?;
    let keys = keys(settings)?;
    let listener = listen(settings).await?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    // The boot's first phase begins here.
    let is_local = address.ip().is_loopback();
    let process = Process::of(settings);
    let web = WebRules { is_local, ..process.http.web.clone() };
    let devices = Arc::new(Devices::here(&process)?);
    let http = HttpSettings { connections_max, web, keys, ..process.http };
    let state = AppState::new(http, Some(exposition));
    state.set_about(about(settings));
    devices.watched_by(state.readings());
    info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    // Signals count from here on: a SIGTERM during the boot ends it.
    let mut signals = Signals::listen().map_err(anyhow::Error::from)?;
    let (end, ended) = oneshot::channel::<()>();
    let edge = tokio::spawn(gimbal_http::serve(listener, state.clone(), async {
        // A dropped sender ends the edge as well.
        ended.await.ok();
    }));
    tokio::select! {
        loaded = boot::load_all(&devices, models, &state) => match loaded {
            Err(failure) if process.stays => {
                return Err(told(failure, &state, &mut signals).await);
            }
            loaded => loaded?,
        },
        signal = signals.ends() => return ended_early(signal),
    }
    readiness::spare_files()?;
    announce(&state, address, started);
    state.set_serving();
    // Not in the line's fields: what is not logged is not computed.
    let signal = signals.ends().await;
    info!(signal, "draining; the same again ends at once");
    state.set_draining();
    tokio::select! {
        drained = state.models().drain_all(process.drain) => {
            info!(requests = drained.requests, cut = drained.cut, "drained");
        }
        signal = signals.ends() => {
            warn!(signal, "ended without waiting for what still runs");
            return Ok(());
        }
    }
    if end.send(()).is_err() {
        warn!("the edge had ended by itself");
    }
    match edge.await {
        Ok(ended) => Ok(ended.map_err(anyhow::Error::from)?),
        Err(panic) => Err(anyhow::anyhow!("the edge failed: {panic}").into()),
    }
}

/// Says at `/ping` and in the log why the boot failed, until the process is to end.
async fn told(failure: Failure, state: &AppState, signals: &mut Signals) -> Failure {
    state.set_failed(&failure.to_string());
    error!(why = %failure, "the boot failed; /ping says so until SIGTERM");
    let signal = signals.ends().await;
    info!(signal, "ended");
    failure
}

/// What was said and has no effect; what was said for several models is told once.
fn tell_ignored(asked: &Asked) {
    let mut told: Vec<&Ignored> = Vec::new();
    let of_models = asked.models.iter().flat_map(|model| model.settings.ignored());
    for ignored in asked.settings.ignored().iter().chain(of_models) {
        if told.contains(&ignored) {
            continue;
        }
        told.push(ignored);
        let Ignored { name, source, why, is_loud } = ignored;
        match is_loud {
            true => warn!(name, %source, why, "ignored"),
            false => info!(name, %source, why, "ignored"),
        }
    }
}

/// Who may ask; a file of keys that cannot be used ends the boot.
fn keys(settings: &Settings) -> Result<Keys, Failure> {
    let file = settings.text("api_keys_file").map(Path::new);
    let keys = Keys::open(settings.secret("api_key"), file).map_err(|why| {
        let from = &settings.entry("api_keys_file").source;
        Failure::usage(format!("api_keys_file (from {from}): {why}"))
    })?;
    if let Some(keys) = keys.count() {
        info!(keys, "requests need an API key");
    }
    Ok(keys)
}

fn ended_early(signal: &str) -> Result<(), Failure> {
    info!(signal, "ended before it was ready");
    Ok(())
}

async fn listen(settings: &Settings) -> Result<TcpListener, Failure> {
    let addresses = listen::addresses(settings)?;
    let listener = TcpListener::bind(&addresses[..]).await;
    listener.map_err(|error| listen::refused(settings, &addresses, &error).into())
}

/// What is known of the process before it has looked for devices.
fn about(settings: &Settings) -> About {
    About { version: env!("CARGO_PKG_VERSION").to_owned(), settings_hash: settings.hash() }
}

/// The line that says it works, and how to try it.
fn announce(state: &AppState, address: SocketAddr, started: Instant) {
    let boot_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    for entry in state.models().list().iter().filter(|entry| entry.service().is_some()) {
        info!(model = &*entry.name, %address, boot_ms, "ready");
    }
    // From this machine "all addresses" is reached by the loopback one.
    let address = match address.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], address.port())),
        false => address,
    };
    logging::say(&format!(
        "\nTry it:\n  curl -s http://{address}/invocations -H 'content-type: application/json' \\\n    \
         -d '{{\"inputs\": \"The alphabet: A, B, C, D, E,\", \
         \"parameters\": {{\"max_new_tokens\": 16, \"details\": true}}}}'\n\n"
    ));
}
