//! Looking for devices: the host's own here, a vendor's in a child process.
//!
//! A vendor's library may crash or hang where its driver is broken; then that is the reason why there
//! is no device, and nothing else happens.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gimbal_hal::{Class, Host, Platform, Probe};

use super::child;
use crate::config::Process;

/// How long a vendor's library may look for devices.
const PROBE_TIME: Duration = Duration::from_secs(10);
/// How often a child that looks is looked at.
const POLL: Duration = Duration::from_millis(5);
/// Bytes of a child's answer that are read.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Looks for a platform's devices; of those settings that were asked for by name, only those.
pub(crate) fn probe(platform: &dyn Platform, host: &Host, process: &Process) -> Probe {
    let found = match platform.class() {
        Class::Accelerator => in_child(platform.name(), process),
        Class::Host | Class::Simulated => platform.probe(host),
    };
    let Probe::Found(devices) = found else { return found };
    if process.devices.is_empty() {
        return Probe::Found(devices);
    }
    let there: Vec<String> = devices.iter().map(|device| device.id.to_string()).collect();
    let named = |word: &String| {
        devices.iter().any(|d| *word == d.ordinal.to_string() || *word == d.id.as_str())
    };
    let wanted = &process.devices;
    let left: Vec<_> = devices
        .iter()
        .filter(|d| wanted.contains(&d.ordinal.to_string()) || wanted.contains(&d.id.to_string()))
        .cloned()
        .collect();
    match left.is_empty() {
        false => Probe::Found(left),
        true => {
            let missing: Vec<&str> =
                wanted.iter().filter(|word| !named(word)).map(String::as_str).collect();
            let (missing, there) = (missing.join(", "), there.join(", "));
            Probe::Absent { why: format!("devices = {missing}: not there; there is {there}") }
        }
    }
}

fn in_child(name: &str, process: &Process) -> Probe {
    let absent = |why: String| Probe::Absent { why };
    let mut command = match child::command() {
        Ok(command) => command,
        Err(error) => return absent(format!("its probe cannot be started: {error}")),
    };
    command.args(["probe", "--json", "--platform", name]).args(child::flags(process));
    let answer = run(&mut command);
    match answer {
        Ok(json) => serde_json::from_slice(&json)
            .unwrap_or_else(|error| absent(format!("its probe gave no answer: {error}"))),
        Err(why) => absent(why),
    }
}

/// The output of a command that has ended well in time.
fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = spawned.map_err(|error| format!("its probe cannot be started: {error}"))?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        let read = stdout.map(|out| out.take(ANSWER_BYTES_MAX).read_to_end(&mut answer));
        read.is_none_or(|read| read.is_ok()).then_some(answer)
    });
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
    let answer = reader.join().ok().flatten();
    answer.ok_or_else(|| "its probe's answer cannot be read".to_owned())
}
