//! `gimbal serve`: listen first, then probe, plan, open and warm; drain on SIGTERM.
//!
//! The port answers from the first moment (`/ping` is 503 with the phase). A boot that fails ends
//! the process with the reason and its exit code.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gimbal_engine::{SampleParams, Service};
use gimbal_http::{About, AppState, Exposition, HttpSettings, OutputFormatter, WebRules};
use gimbal_settings::{Ignored, Settings};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::signals::Signals;
use crate::failure::Failure;
use crate::{boot, logging};

/// Threads for sockets and text. They mostly wait; computing has its own.
const IO_THREADS: usize = 2;

/// Runs the command.
pub(crate) fn run(settings: &Settings, model: &Path) -> Result<(), Failure> {
    logging::start(settings, None);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(IO_THREADS).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::unavailable(format!("no threads: {e}")))?;
    let served = runtime.block_on(serve(settings, model));
    // What hangs in a file system or a template must not keep the process.
    runtime.shutdown_background();
    served
}

async fn serve(settings: &Settings, model: &Path) -> Result<(), Failure> {
    let started = Instant::now();
    for Ignored { name, source, why } in settings.ignored() {
        info!(name, %source, why, "ignored");
    }
    let exposition = Exposition::install().map_err(anyhow::Error::from)?;
    let listener = listen(settings).await?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    // The boot's first phase begins here.
    let is_local = address.ip().is_loopback();
    let state = AppState::new(http_settings(settings, is_local), Some(exposition));
    state.set_about(about(settings));
    info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    // Signals count from here on: a SIGTERM during the boot ends it.
    let mut signals = Signals::listen().map_err(anyhow::Error::from)?;
    let (end, ended) = oneshot::channel::<()>();
    let edge = tokio::spawn(gimbal_http::serve(listener, state.clone(), async {
        // A dropped sender ends the edge as well.
        ended.await.ok();
    }));
    let service = tokio::select! {
        service = open(settings, model, &state) => service?,
        signal = signals.ends() => return ended_early(signal),
    };
    announce(&service, address, started);
    state.add_model(service.clone());
    info!(signal = signals.ends().await, "draining; the same again ends at once");
    state.set_draining();
    let budget = Duration::from_secs(settings.integer("drain_timeout_s").unwrap_or(25));
    tokio::select! {
        drained = service.drain(budget) => {
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

fn ended_early(signal: &str) -> Result<(), Failure> {
    info!(signal, "ended before it was ready");
    Ok(())
}

async fn listen(settings: &Settings) -> Result<TcpListener, Failure> {
    let host = settings.text("host").unwrap_or("127.0.0.1");
    let port = settings.integer("port").and_then(|p| u16::try_from(p).ok()).unwrap_or(8080);
    TcpListener::bind((host, port)).await.map_err(|e| {
        let from = |key: &str| settings.entry(key).source.to_string();
        Failure::unavailable(format!(
            "cannot listen on {host}:{port}: {e} (host from {}, port from {}); \
             end what uses the port or set --port",
            from("host"),
            from("port")
        ))
    })
}

/// Everything between listening and the first token, off the sockets' threads.
async fn open(settings: &Settings, path: &Path, state: &AppState) -> Result<Arc<Service>, Failure> {
    let (settings, path, phases) = (settings.clone(), path.to_owned(), state.clone());
    let opened = tokio::task::spawn_blocking(move || open_blocking(&settings, &path, &phases));
    let service = opened.await.map_err(anyhow::Error::from)??;
    state.set_phase("warm", None);
    let first = service.warm_up().await.map_err(|e| Failure::unavailable(format!("warm: {e}")))?;
    info!(token_ms = u64::try_from(first.took.as_millis()).unwrap_or(u64::MAX), "warm");
    Ok(service)
}

fn open_blocking(
    settings: &Settings,
    path: &Path,
    state: &AppState,
) -> Result<Arc<Service>, Failure> {
    state.set_phase("plan", None);
    let plan = boot::plan(settings, path, None)?;
    state.set_about(About {
        platform: plan.platform().to_owned(),
        device: plan.device().to_owned(),
        is_simulated: plan.platform() == "sim",
        ..about(settings)
    });
    state.set_phase("open", None);
    plan.open(settings)
}

/// What is known of the process before it has looked for devices.
fn about(settings: &Settings) -> About {
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings_hash: settings.hash(),
        ..About::default()
    }
}

fn http_settings(settings: &Settings, is_local: bool) -> HttpSettings {
    let seconds =
        |key: &str, default| Duration::from_secs(settings.integer(key).unwrap_or(default));
    let body = settings.integer("max_request_size").and_then(|n| usize::try_from(n).ok());
    let defaults = HttpSettings::default();
    HttpSettings {
        body_bytes_max: body.unwrap_or(defaults.body_bytes_max),
        write_timeout: seconds("write_timeout_s", 30),
        invocations_deadline: seconds("invocation_timeout_s", 60),
        output_formatter: match settings.text("output_formatter") {
            Some("json") => OutputFormatter::Json,
            Some("jsonlines") => OutputFormatter::JsonLines,
            Some("sse") => OutputFormatter::Sse,
            _ => OutputFormatter::Auto,
        },
        tgi_compat: settings.flag("tgi_compat"),
        sampling: sampling(settings),
        vllm_metrics: settings.text("metrics_alias") == Some("vllm"),
        dashboard: settings.flag("dashboard"),
        is_name_strict: settings.flag("served_model_name_strict"),
        web: WebRules {
            is_local,
            origins: WebRules::list(settings.text("cors_origins").unwrap_or_default()),
            hosts: WebRules::list(settings.text("allowed_hosts").unwrap_or_default()),
        },
        ..defaults
    }
}

/// What requests that sample get where they say nothing.
fn sampling(settings: &Settings) -> SampleParams {
    #[expect(clippy::cast_possible_truncation, reason = "parameters are f32 everywhere")]
    let number = |key: &str| settings.number(key).map_or(1.0, |n| n as f32);
    let top_k = settings.integer("default_top_k").and_then(|k| u32::try_from(k).ok());
    SampleParams {
        temperature: number("default_temperature"),
        top_p: number("default_top_p"),
        top_k: top_k.unwrap_or(0),
        repetition_penalty: number("default_repetition_penalty"),
        ..SampleParams::default()
    }
}

/// The line that says it works, and how to try it.
fn announce(service: &Service, address: SocketAddr, started: Instant) {
    let boot_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    info!(model = service.name(), %address, boot_ms, "ready");
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
