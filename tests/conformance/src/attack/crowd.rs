//! Crowds for minutes: ten times more streaming clients than are served, and clients that leave in
//! every way there is. What is accepted ends whole, and nothing is left behind.
//!
//! Next: `../lib.rs`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::Target;
use super::target::request;

/// Stacks of client threads; they hold little.
const STACK_BYTES: usize = 128 << 10;
/// What memory may differ between the second and the last third of a run.
const GROWTH_KIB_MAX: u64 = 32 << 10;
/// Time for the server to forget everybody.
const REST: Duration = Duration::from_secs(10);

/// How requests ended, with their number.
type Ends = Mutex<BTreeMap<String, usize>>;

fn note(ends: &Ends, how: impl Into<String>) {
    *ends.lock().unwrap_or_else(|e| e.into_inner()).entry(how.into()).or_default() += 1;
}

/// `clients` streaming clients in closed loops for `time`.
///
/// # Errors
/// An accepted request was cut, the server died, or something was left behind.
pub fn overload(
    binary: &Path,
    model: &Path,
    clients: usize,
    time: Duration,
) -> anyhow::Result<String> {
    let target = Target::start(binary, model, &[])?;
    let (ends, watch, begun) = (Ends::default(), target.watch(), Instant::now());
    crowd(clients, |number| {
        let mut round = 0;
        while begun.elapsed() < time {
            let how = stream(&target, number * 1000 + round, [16, 32, 64][(number + round) % 3]);
            let is_accepted = how == "done";
            note(&ends, how);
            round += 1;
            if !is_accepted {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    })?;
    let (held, report) = (target.memory(), rest(&target, &ends)?);
    let ends = ends.into_inner().unwrap_or_else(|e| e.into_inner());
    ensure!(!ends.keys().any(|how| how.starts_with("cut")), "accepted and cut: {ends:?}");
    Ok(format!("{ends:?}\n{} | {} MiB then, {report}", watch.end(), held >> 20))
}

/// `clients` clients that leave in many ways, for `time`; memory is read in thirds.
///
/// # Errors
/// The server died, something was left behind, or memory beside KV grew.
pub fn disconnects(
    binary: &Path,
    model: &Path,
    clients: usize,
    time: Duration,
) -> anyhow::Result<String> {
    // Little KV, so that fresh blocks are not taken for a leak.
    let flags = ["--kv-cache-bytes", "100000000", "--max-model-len", "2048"];
    let target = Target::start(binary, model, &flags)?;
    let (ends, watch, begun) = (Ends::default(), target.watch(), Instant::now());
    let mut samples = Vec::new();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let sampler = scope.spawn(|| {
            let mut samples = Vec::new();
            while begun.elapsed() < time {
                samples.push(target.memory() >> 10);
                std::thread::sleep(Duration::from_secs(1));
            }
            samples
        });
        crowd(clients, |number| {
            let mut round = 0;
            while begun.elapsed() < time {
                note(&ends, leave(&target, number + round));
                round += 1;
            }
        })?;
        samples = sampler.join().unwrap_or_default();
        Ok(())
    })?;
    let report = rest(&target, &ends)?;
    let third = samples.len() / 3;
    let middle = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or(0)
    };
    let (second, last) = (middle(&samples[third..2 * third]), middle(&samples[2 * third..]));
    let ends = ends.into_inner().unwrap_or_else(|e| e.into_inner());
    // A crowd that comes later than all before it may reach a new height; a leak goes on.
    let grown = last.saturating_sub(second);
    ensure!(grown < GROWTH_KIB_MAX, "memory grew from {second} to {last} KiB: {samples:?}");
    Ok(format!(
        "{ends:?}\n{} | {second} KiB in the second third, {last} KiB in the last; {report}",
        watch.end()
    ))
}

/// Runs clients on threads of their own and waits for all.
fn crowd(clients: usize, client: impl Fn(usize) + Sync) -> anyhow::Result<()> {
    let failed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..clients {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let client = &client;
            if thread.spawn_scoped(scope, move || client(number)).is_err() {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    ensure!(failed.into_inner() == 0, "not all clients could be started");
    Ok(())
}

fn body(number: usize, tokens: usize, stream: bool) -> String {
    let body = json!({"prompt": format!("Story {number}: once upon a time"), "max_tokens": tokens,
        "ignore_eos": true, "temperature": 0, "stream": stream});
    request("POST", "/v1/completions", &body.to_string())
}

/// One stream, read to its end.
fn stream(target: &Target, number: usize, tokens: usize) -> String {
    let Ok(mut stream) = target.connect() else { return "no connection".to_owned() };
    // Who waits in the queue waits long.
    stream.set_read_timeout(Some(Duration::from_secs(300))).ok();
    if stream.write_all(body(number, tokens, true).as_bytes()).is_err() {
        return "closed at once".to_owned();
    }
    let (mut tail, mut piece, mut status) = (Vec::new(), [0; 8192], String::new());
    loop {
        match stream.read(&mut piece) {
            Ok(length @ 1..) => {
                if status.is_empty() {
                    let head = String::from_utf8_lossy(&piece[..length]);
                    status = head.split(' ').nth(1).unwrap_or("?").to_owned();
                }
                tail.extend_from_slice(&piece[..length]);
                let text = String::from_utf8_lossy(&tail);
                if status != "200" {
                    return status;
                }
                if text.contains("[DONE]") {
                    return "done".to_owned();
                }
                if text.contains("\"error\"") {
                    return "cut with a reason".to_owned();
                }
                let keep = tail.len().saturating_sub(64);
                tail.drain(..keep);
            }
            _ if status == "200" => return "cut".to_owned(),
            Ok(_) => return "closed without an answer".to_owned(),
            Err(error) => return error.kind().to_string(),
        }
    }
}

/// One request whose client leaves, in one of many ways.
fn leave(target: &Target, way: usize) -> &'static str {
    let Ok(mut stream) = target.connect() else { return "no connection" };
    let mut piece = [0; 512];
    let text = body(way, 64, way.is_multiple_of(2));
    let mut send = |part: &str| stream.write_all(part.as_bytes()).is_ok();
    match way % 9 {
        0 => "connected only",
        1 => {
            send(&text[..20]);
            "half a head"
        }
        2 => {
            send(&text[..text.len() - 10]);
            "half a body"
        }
        3 => {
            send(&text);
            "sent and gone"
        }
        4 => {
            send(&(text + "G"));
            "a byte more and gone"
        }
        5 => {
            send(&text);
            drop(stream.read(&mut piece));
            "gone after the first bytes"
        }
        6 => {
            send(&text);
            stream.shutdown(Shutdown::Write).ok();
            drop(stream.read(&mut piece));
            "closed half"
        }
        7 => {
            send(&text);
            std::thread::sleep(Duration::from_millis(200));
            "waited and gone"
        }
        _ => {
            send(&text);
            while matches!(stream.read(&mut piece), Ok(1..)) && !piece.starts_with(b"0\r\n") {
                if piece.windows(6).any(|w| w == b"[DONE]") {
                    break;
                }
            }
            "stayed"
        }
    }
}

/// What is left when everybody has gone.
fn rest(target: &Target, ends: &Ends) -> anyhow::Result<String> {
    ensure!(target.is_alive(), "the server died: {ends:?}");
    std::thread::sleep(REST);
    let read = |name: &str| target.metric(name);
    let left = [read("gimbal_running")?, read("gimbal_waiting")?, read("gimbal_slots_used")?];
    ensure!(left.iter().sum::<f64>() <= 1.0, "running, waiting, slots: {left:?}");
    let restarts = read("gimbal_engine_restarts_total")?;
    ensure!(restarts == 0.0, "{restarts} restarts of the engine");
    Ok(format!("{} MiB at the end, nothing left", target.memory() >> 20))
}
