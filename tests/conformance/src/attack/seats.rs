//! Requests that are legal and long: what does everybody else wait for?
//!
//! Next: `sockets.rs`.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::target::request;
use super::{Spent, Target};

const SECONDS: u64 = 15;

/// Keeps requests open for a while.
fn hold(target: &Target, bodies: impl Iterator<Item = Value>) -> anyhow::Result<Spent> {
    let (mut held, mut bytes): (Vec<TcpStream>, u64) = (Vec::new(), 0);
    for body in bodies {
        let text = request("POST", "/v1/completions", &body.to_string());
        let mut stream = target.connect()?;
        stream.write_all(text.as_bytes())?;
        bytes += text.len() as u64;
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(SECONDS));
    Ok(Spent { bytes })
}

pub(super) fn many_choices(target: &Target) -> anyhow::Result<Spent> {
    let body = json!({"prompt": "Hi", "n": 128, "max_tokens": 8000, "ignore_eos": true});
    hold(target, std::iter::once(body))
}

pub(super) fn long_answers(target: &Target) -> anyhow::Result<Spent> {
    let body = |i| json!({"prompt": format!("Hi {i}"), "max_tokens": 1000, "ignore_eos": true});
    hold(target, (0..32).map(body))
}

pub(super) fn long_prompts(target: &Target) -> anyhow::Result<Spent> {
    let prompt =
        |k: u32| -> Vec<u32> { (0..7900).map(|i| 7 + (i * 7 + k * 131) % 40_000).collect() };
    hold(target, (0..8).map(|k| json!({"prompt": prompt(k), "max_tokens": 1})))
}
