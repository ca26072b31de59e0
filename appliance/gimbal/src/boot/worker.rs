//! A device in a process of its own, from both sides: the server starts `gimbal worker`, which opens
//! exactly one backend and runs its steps.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use gimbal_hal::{
    Artifact, Backend, Class, DeviceError, DeviceInfo, Fit, Platform, Profile, Remote, Seat,
    Servable, worker,
};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::child;
use super::platforms::platforms;
use crate::config::{Process, Workers};
use crate::failure::Failure;

/// How long a worker whose server is gone may take to let go of its device.
const END_TIME: Duration = Duration::from_secs(1);

/// What a worker opens. Models cross as paths: both ends map the same files.
#[derive(Debug, Serialize, Deserialize)]
struct Opening {
    platform: String,
    path: PathBuf,
    /// Those of the copy.
    devices: Vec<DeviceInfo>,
    profile: Profile,
    rank: usize,
}

/// True if that platform's devices are held by workers.
pub(crate) fn is_wanted(process: &Process, platform: &dyn Platform) -> bool {
    match process.worker {
        Workers::All => true,
        Workers::None => false,
        Workers::Accelerators => platform.class() == Class::Accelerator,
    }
}

/// Opens one device of a fit in a worker.
///
/// # Errors
/// It cannot be started, or the device cannot be opened there.
pub(crate) fn open(
    process: &Process,
    patience: Duration,
    platform: &dyn Platform,
    fit: &Fit,
    seat: Seat,
    artifact: &Artifact,
) -> Result<Box<dyn Backend>, DeviceError> {
    let failed = |what: String| DeviceError::Lost { why: format!("no worker: {what}") };
    let devices = fit.replicas[seat.replica].devices.clone();
    let ranks = u16::try_from(devices.len()).ok();
    let opening = Opening {
        platform: platform.name().to_owned(),
        path: artifact.path().to_owned(),
        devices,
        profile: Profile { replicas: Some(1), ranks, ..fit.profile.clone() },
        rank: seat.rank,
    };
    let opening = serde_json::to_vec(&opening).map_err(|error| failed(error.to_string()))?;
    let mut command: Command = child::command().map_err(|error| failed(error.to_string()))?;
    command.arg("worker").args(child::flags(process)).arg("--log-format=text");
    command.envs(platform.environment(fit, seat));
    let told = |pid: u32, line: &str| info!(pid, line, "worker");
    let remote = Remote::start(&mut command, &opening, patience, Box::new(told))?;
    Ok(Box::new(remote))
}

/// Runs a worker on the socket that is its standard input, until that is closed.
///
/// # Errors
/// The socket failed, or what came from it is no message.
pub(crate) fn run(process: &Process) -> Result<(), Failure> {
    let refused =
        |why: std::io::Error| Failure::usage(format!("gimbal worker is gimbal's own: {why}"));
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(refused)?;
    let socket = UnixStream::from(socket);
    socket.peer_addr().map_err(refused)?;
    let watched = socket.try_clone().map_err(refused)?;
    #[expect(clippy::exit, reason = "a step that hangs in a driver must not outlive the server")]
    let watch = move || {
        worker::until_closed(&watched);
        std::thread::sleep(END_TIME);
        std::process::exit(0);
    };
    let thread = std::thread::Builder::new().name("parent".to_owned()).spawn(watch);
    thread.map_err(|error| crate::readiness::no_threads(&error))?;
    let open = |opening: &[u8]| open_here(process, opening);
    worker::run(socket, open).map_err(|error| {
        warn!(%error, "the worker ends");
        Failure::unavailable(format!("the worker ends: {error}"))
    })
}

fn open_here(process: &Process, opening: &[u8]) -> Result<Box<dyn Backend>, DeviceError> {
    let refused = |why: String| DeviceError::Model { why };
    let opening: Opening = serde_json::from_slice(opening)
        .map_err(|error| refused(format!("no opening of ours: {error}")))?;
    let Opening { platform, path, devices, profile, rank } = opening;
    let all = platforms(process).map_err(|failure| refused(failure.to_string()))?;
    let platform = all.into_iter().find(|found| found.name() == platform);
    let platform = platform.ok_or_else(|| refused("there is no such platform".to_owned()))?;
    let mut artifact = Artifact::open(&path).map_err(|error| refused(error.to_string()))?;
    // Text is the server's.
    drop(super::plan::take_text(&mut artifact));
    let fit = platform.fit(&devices, &artifact, &profile);
    let fit = fit.map_err(|unfit| refused(unfit.to_string()))?;
    match platform.open(&fit, Seat { replica: 0, rank }, &artifact)? {
        Servable::Generate(backend) => {
            if let Artifact::Decoder(model) = &artifact {
                model.weights.release_all();
            }
            gimbal_onnx::process::give_back();
            Ok(backend)
        }
        Servable::Infer(_) => Err(refused("it does not generate".to_owned())),
    }
}
