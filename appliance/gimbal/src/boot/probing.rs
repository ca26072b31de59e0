//! Looking for devices: the host's own here, a vendor's in a child process.
//!
//! A vendor's library may crash or hang where its driver is broken; then that is the reason why there
//! is no device, and nothing else happens.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gimbal_hal::{Class, DeviceInfo, Host, Platform, Probe};

use super::child;
use crate::config::Process;
use crate::elsewhere::Elsewhere;

/// How long a vendor's library may look for devices.
const PROBE_TIME: Duration = Duration::from_secs(10);
/// How often a child that looks is looked at.
const POLL: Duration = Duration::from_millis(5);
/// Bytes of a child's answer that are read: what a pipe holds without a reader.
const ANSWER_BYTES_MAX: u64 = 1 << 16;

/// Looks for a platform's devices; where some were asked for, exactly those.
pub(crate) fn probe(platform: &dyn Platform, host: &Host, process: &Process) -> Probe {
    let found = match platform.class() {
        Class::Accelerator => in_child(platform.name(), process),
        Class::Host | Class::Simulated => platform.probe(host),
    };
    match found {
        Probe::Found(devices) => only(devices, platform.name(), &process.devices),
        none @ (Probe::Absent { .. } | Probe::Broken { .. }) => none,
    }
}

/// Another machine's devices, of which nobody is asked but the host's own platform; where some were asked
/// for, exactly those.
pub(crate) fn planned(platform: &dyn Platform, elsewhere: &Elsewhere, process: &Process) -> Probe {
    if platform.class() != Class::Accelerator {
        return platform.probe(&elsewhere.host);
    }
    let is_ours = |device: &&DeviceInfo| device.platform == platform.name();
    let devices: Vec<DeviceInfo> = elsewhere.devices.iter().filter(is_ours).cloned().collect();
    if devices.is_empty() {
        let why = format!("{} has no device of {}", elsewhere.name, platform.name());
        return Probe::Absent { why };
    }
    only(devices, platform.name(), &process.devices)
}

/// The devices that are named, all of which must be there. A number counts on every platform, an id on
/// its own.
fn only(devices: Vec<DeviceInfo>, platform: &str, named: &[String]) -> Probe {
    if named.is_empty() {
        return Probe::Found(devices);
    }
    let is_ours = |word: &&String| word.split_once(':').is_none_or(|(name, _)| name == platform);
    let is = |d: &DeviceInfo, word: &str| d.id.as_str() == word || d.ordinal.to_string() == word;
    let ours: Vec<&String> = named.iter().filter(is_ours).collect();
    let missing = ours.iter().filter(|word| !devices.iter().any(|d| is(d, word)));
    let missing: Vec<&str> = missing.map(|word| word.as_str()).collect();
    let there = || devices.iter().map(|d| d.id.to_string()).collect::<Vec<_>>().join(", ");
    if ours.is_empty() || !missing.is_empty() {
        let what = if ours.is_empty() { named.join(", ") } else { missing.join(", ") };
        let there = there();
        return Probe::Absent { why: format!("devices = {what}: not there; there is {there}") };
    }
    Probe::Found(devices.into_iter().filter(|d| ours.iter().any(|word| is(d, word))).collect())
}

fn in_child(name: &str, process: &Process) -> Probe {
    let broken = |why: String| Probe::Broken { why };
    let mut command = match child::command() {
        Ok(command) => command,
        Err(error) => return broken(format!("its probe cannot be started: {error}")),
    };
    command.args(["probe", "--json", "--platform", name]).args(child::flags(process));
    let answer = run(&mut command);
    match answer {
        Ok(json) => serde_json::from_slice(&json)
            .unwrap_or_else(|error| broken(format!("its probe gave no answer: {error}"))),
        Err(why) => broken(why),
    }
}

/// The output of a command that has ended well in time.
fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| format!("its probe cannot be started: {error}"))?;
    let until = Instant::now() + PROBE_TIME;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => std::thread::sleep(POLL),
            Ok(None) => {
                // One that cannot be killed has ended meanwhile; waiting takes its entry away.
                drop(child.kill());
                drop(child.wait());
                let seconds = PROBE_TIME.as_secs();
                return Err(format!("its probe did not answer within {seconds} s"));
            }
            Err(error) => return Err(format!("its probe is gone: {error}")),
        }
    };
    if !status.success() {
        return Err(format!("its probe crashed ({status})"));
    }
    let mut answer = Vec::new();
    let read = child.stdout.take().map(|out| out.take(ANSWER_BYTES_MAX).read_to_end(&mut answer));
    match read {
        Some(Err(error)) => Err(format!("its probe's answer cannot be read: {error}")),
        _ => Ok(answer),
    }
}
