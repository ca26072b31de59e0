//! Devices in processes of their own: killed, stopped, broken from the start, or back with less memory.
//! Streams go on, clients notice nothing, and what happened can be read. Simulated devices stand in for
//! those that this machine lacks; the CPU is the real one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gimbal_conformance::client::{post, send};
use gimbal_conformance::server::{Server, binary_path, signal};
use gimbal_conformance::{library_path, model_path};
use serde_json::{Value, json};

/// Tokens of a stream, long enough to be in the middle when something happens.
const TOKENS: u32 = 120;
/// The longest wait for something that must come.
const SOON: Duration = Duration::from_secs(90);

/// Model and flags, or nothing where `cargo xtask test` did not set them.
fn setup() -> Option<(PathBuf, Vec<String>)> {
    binary_path()?;
    let library = library_path()?.to_str()?.to_owned();
    Some((model_path()?, vec!["--onnxruntime".to_owned(), library]))
}

/// A file of simulated devices, gone with the test.
struct Hardware(PathBuf);

impl Hardware {
    fn new(name: &str, text: &str) -> anyhow::Result<Self> {
        let file = format!("gimbal-hardware-{}-{name}.yaml", std::process::id());
        let hardware = Self(std::env::temp_dir().join(file));
        hardware.becomes(text)?;
        Ok(hardware)
    }

    fn becomes(&self, text: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(&self.0, text)?)
    }

    fn flag(&self) -> String {
        format!("--simulation={}", self.0.display())
    }
}

impl Drop for Hardware {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn start(model: &Path, fixed: &[String], flags: &[&str]) -> anyhow::Result<Server> {
    let fixed = fixed.iter().map(String::as_str);
    Server::start(model, &fixed.chain(flags.iter().copied()).collect::<Vec<_>>())
}

/// The token ids of one stream, which must end by its length.
fn stream(address: SocketAddr, prompt: &str) -> anyhow::Result<Vec<u64>> {
    let parameters = json!({ "max_new_tokens": TOKENS, "ignore_eos_token": true });
    let body = json!({ "inputs": prompt, "stream": true, "parameters": parameters });
    let answer = send(address, "POST", "/invocations", &body.to_string())?;
    let (status, text) = (answer.status, answer.text()?);
    if status != 200 {
        bail!("{status}: {text}");
    }
    let mut ids = Vec::new();
    let mut finish = Value::Null;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ids.extend(line["token"]["id"].as_u64());
        if !line["details"].is_null() {
            finish = line["details"]["finish_reason"].clone();
        }
    }
    if finish != "length" {
        bail!("it ended by {finish}: {text}");
    }
    Ok(ids)
}

const PROMPTS: [&str; 8] = [
    "The alphabet: A, B, C,",
    "One, two, three,",
    "The capital of France",
    "Water boils at",
    "Once upon a time",
    "def main():",
    "Roses are red,",
    "The sky is",
];

/// Eight streams at once, and something that happens while they run.
fn streams(
    server: &Server,
    during: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Vec<u64>>> {
    let address = server.address;
    std::thread::scope(|scope| {
        let begun = PROMPTS.map(|prompt| scope.spawn(move || stream(address, prompt)));
        let tokens = || server.metric("gimbal_tokens_total", "kind=\"output\"");
        let before = tokens().unwrap_or(0.0);
        let until = Instant::now() + SOON;
        // Each has begun, none can have ended.
        while tokens().unwrap_or(0.0) < before + 60.0 {
            if Instant::now() > until {
                bail!("the streams do not begin");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        during()?;
        let ended = begun.into_iter().map(|thread| thread.join().expect("no panic"));
        ended.collect()
    })
}

fn losses(server: &Server) -> anyhow::Result<f64> {
    server.metric("gimbal_device_losses_total", "")
}

#[test]
fn a_killed_and_a_stopped_worker_cost_no_stream_anything() -> anyhow::Result<()> {
    let Some((model, fixed)) = setup() else { return Ok(()) };
    let here = start(&model, &fixed, &["--worker", "off"])?;
    assert_eq!(here.workers()?, [0_u32; 0]);
    let expect = streams(&here, || Ok(()))?;
    drop(here);
    let server = start(&model, &fixed, &["--worker", "on", "--watchdog-timeout-s", "3"])?;
    let first = server.workers()?;
    assert_eq!(first.len(), 1, "one device, one worker");
    assert_eq!(streams(&server, || signal("-KILL", first[0]))?, expect);
    assert_eq!(losses(&server)?, 1.0);
    let second = server.workers()?;
    assert!(second.len() == 1 && second != first, "{first:?}, {second:?}");
    // Stopped, it neither ends nor answers: the watchdog gives it up.
    assert_eq!(streams(&server, || signal("-STOP", second[0]))?, expect);
    assert_eq!(losses(&server)?, 2.0);
    assert_eq!(send(server.address, "GET", "/ping", "")?.status, 200);
    let last = server.workers()?;
    assert!(last.len() == 1 && last != second, "{second:?}, {last:?}");
    // A worker dies with its server, however that ends.
    signal("-KILL", server.id())?;
    let until = Instant::now() + SOON;
    while Path::new(&format!("/proc/{}", last[0])).exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let line = std::fs::read(format!("/proc/{}/cmdline", last[0])).unwrap_or_default();
    assert!(line.is_empty(), "it lives on");
    Ok(())
}

#[test]
fn a_worker_that_comes_back_with_less_memory_goes_on() -> anyhow::Result<()> {
    let Some((model, fixed)) = setup() else { return Ok(()) };
    let hardware = Hardware::new("less", "memory_bytes: 16777216\n")?;
    let flag = hardware.flag();
    let flags = ["--backend", "sim", "--worker", "on", "--max-model-len", "512", &flag];
    let server = start(&model, &fixed, &flags)?;
    let blocks = |server: &Server| -> anyhow::Result<f64> {
        let states = ["used", "cached", "free"].map(|state| format!("state=\"{state}\""));
        states.iter().map(|state| server.metric("gimbal_kv_blocks", state)).sum()
    };
    let expect = streams(&server, || Ok(()))?;
    assert_eq!(blocks(&server)?, 1024.0);
    let pid = server.workers()?[0];
    let smaller = streams(&server, || {
        hardware.becomes("memory_bytes: 8388608\n")?;
        signal("-KILL", pid)
    })?;
    assert_eq!(smaller, expect);
    assert_eq!((losses(&server)?, blocks(&server)?), (1.0, 512.0));
    Ok(())
}

#[test]
fn a_worker_that_cannot_start_again_ends_its_lane_with_the_reason() -> anyhow::Result<()> {
    let Some((model, fixed)) = setup() else { return Ok(()) };
    let hardware = Hardware::new("broken", "devices: 1\n")?;
    let server = start(&model, &fixed, &["--backend", "sim", "--worker", "on", &hardware.flag()])?;
    hardware.becomes("broken: no such card any more\n")?;
    signal("-KILL", server.workers()?[0])?;
    // An idle lane notices with its next step.
    let body = json!({ "inputs": "a", "parameters": { "max_new_tokens": 2 } });
    let (status, answer) = post(server.address, "/invocations", &body)?;
    assert_eq!(status, 500, "{answer}");
    let ping = send(server.address, "GET", "/ping", "")?;
    assert_eq!(ping.status, 503);
    let text = ping.text()?;
    assert!(text.contains("no such card any more"), "{text}");
    Ok(())
}

#[test]
fn copies_and_ranks_live_on_devices_of_their_own() -> anyhow::Result<()> {
    let Some((model, fixed)) = setup() else { return Ok(()) };
    let hardware = Hardware::new("six", "devices: 6\n")?;
    let flag = hardware.flag();
    let sim = ["--backend", "sim", "--worker", "on", "--replicas", "2", &flag];
    let server = start(&model, &fixed, &sim)?;
    let status: Value = serde_json::from_str(&send(server.address, "GET", "/status", "")?.text()?)?;
    let placement = &status["models"][0]["placement"];
    assert_eq!(placement[0]["devices"], json!(["sim:0"]));
    assert_eq!(placement[1]["devices"], json!(["sim:1"]));
    for (lane, device) in [("0", "sim:0"), ("1", "sim:1")] {
        let label = format!("lane=\"{lane}\",rank=\"0\",device=\"{device}\"");
        assert_eq!(server.metric("gimbal_lane_info", &label)?, 1.0);
    }
    let expect = streams(&server, || Ok(()))?;
    let pids = server.workers()?;
    assert_eq!(pids.len(), 2);
    assert_eq!(streams(&server, || signal("-KILL", pids[1]))?, expect);
    let lost = ["0", "1"]
        .map(|lane| server.metric("gimbal_device_losses_total", &format!("lane=\"{lane}\"")));
    let lost = [lost[0].as_ref().ok(), lost[1].as_ref().ok()];
    assert_eq!(lost.map(Option::<&f64>::copied).iter().flatten().sum::<f64>(), 1.0, "{lost:?}");
    assert!(server.workers()?.contains(&pids[0]), "the other's worker is the same");
    drop(server);

    let group = ["--backend", "sim", "--worker", "on", "--tensor-parallel-degree", "3", &flag];
    let server = start(&model, &fixed, &group)?;
    let pids = server.workers()?;
    assert_eq!(pids.len(), 3);
    assert_eq!(server.metric("gimbal_lane_info", "")?, 3.0, "three ranks of one lane");
    assert_eq!(streams(&server, || signal("-KILL", pids[2]))?, expect);
    assert_eq!(losses(&server)?, 1.0);
    Ok(())
}
