//! Bodies and answers that are to cost far more than their bytes.
//!
//! Next: `seats.rs`.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::target::request;
use super::{Spent, Target};

/// Sends bodies at once, each on its own connection, and waits for what is answered.
fn send_all(target: &Target, path: &str, bodies: Vec<String>, wait: Duration) -> Spent {
    let sent = bodies.iter().map(|body| body.len() as u64).sum();
    std::thread::scope(|scope| {
        for body in bodies {
            scope.spawn(move || {
                let Ok(mut stream) = target.connect() else { return };
                // A server that refuses may close before all is sent.
                stream.write_all(request("POST", path, &body).as_bytes()).ok();
                stream.set_read_timeout(Some(wait)).ok();
                let mut answer = [0; 64];
                drop(std::io::Read::read(&mut stream, &mut answer));
            });
        }
    });
    Spent { bytes: sent }
}

/// Objects in a member that nobody reads, beside a long answer that keeps the body alive.
pub(super) fn trees(target: &Target) -> anyhow::Result<Spent> {
    let junk = "{\"\":0},".repeat(24_000_000 / 7);
    let body =
        format!("{{\"prompt\":\"Hi\",\"max_tokens\":400,\"ignore_eos\":true,\"junk\":[{junk}0]}}");
    Ok(send_all(target, "/v1/completions", vec![body; 5], Duration::from_secs(10)))
}

fn prompts() -> String {
    vec!["\"a\""; 256].join(",")
}

pub(super) fn stop_list(target: &Target) -> anyhow::Result<Spent> {
    let stops = vec!["\"x\""; 500_000].join(",");
    let body = format!("{{\"prompt\":[{}],\"stop\":[{stops}]}}", prompts());
    Ok(send_all(target, "/v1/completions", vec![body], Duration::from_secs(40)))
}

pub(super) fn stop_ids(target: &Target) -> anyhow::Result<Spent> {
    let ids = vec!["7"; 12_000_000].join(",");
    let body = format!("{{\"prompt\":[{}],\"stop_token_ids\":[{ids}]}}", prompts());
    Ok(send_all(target, "/v1/completions", vec![body], Duration::from_secs(40)))
}

pub(super) fn choices(target: &Target) -> anyhow::Result<Spent> {
    let stop = "\u{1F600}".repeat(1024);
    let body = json!({"prompt": "Hi", "n": 128, "max_tokens": 1000, "ignore_eos": true,
        "stop": vec![stop; 64]});
    let body = body.to_string();
    Ok(send_all(target, "/v1/completions", vec![body; 220], Duration::from_secs(10)))
}

/// Answers that repeat a long input for every choice, to clients that do not read.
pub(super) fn echoes(target: &Target) -> anyhow::Result<Spent> {
    let text = "a".repeat(650_000);
    let body = json!({"inputs": text, "parameters": {"n": 128, "truncate": 1, "max_new_tokens": 1,
        "return_full_text": true}});
    let bytes = request("POST", "/invocations", &body.to_string());
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..24 {
        let mut stream = target.connect()?;
        stream.write_all(bytes.as_bytes()).ok();
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(15));
    Ok(Spent { bytes: 24 * bytes.len() as u64 })
}
