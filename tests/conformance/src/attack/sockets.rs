//! Connections that hold places, and work that needs none.
//!
//! Next: `crowd.rs`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::target::request;
use super::{Spent, Target};

const FLOOD: Duration = Duration::from_secs(10);

/// Bodies that are announced, sent but for their end, and held.
pub(super) fn bodies(target: &Target) -> anyhow::Result<Spent> {
    // Eleven large ones and some small ones for the rest of a hundred mebibytes.
    let sizes = [[9_500_000; 11].as_slice(), &[45_000; 8]].concat();
    let piece = vec![b' '; 1 << 20];
    let mut held: Vec<TcpStream> = Vec::new();
    let mut bytes = 0;
    for size in sizes {
        let mut stream = target.connect()?;
        let head = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n\r\n",
            size + 1
        );
        stream.write_all(head.as_bytes())?;
        let mut left = size;
        // A server that refuses closes; what was sent was sent.
        while left > 0 && stream.write_all(&piece[..piece.len().min(left)]).is_ok() {
            bytes += piece.len().min(left) as u64;
            left -= piece.len().min(left);
        }
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(20));
    Ok(Spent { bytes })
}

pub(super) fn idle(target: &Target) -> anyhow::Result<Spent> {
    let head = b"GET /ping HTT";
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..4096 {
        let Ok(mut stream) = target.connect() else { break };
        stream.write_all(head).ok();
        held.push(stream);
    }
    std::thread::sleep(Duration::from_secs(15));
    Ok(Spent { bytes: (held.len() * head.len()) as u64 })
}

pub(super) fn ghosts(target: &Target) -> anyhow::Result<Spent> {
    let body = json!({"prompt": "Hi", "max_tokens": 4000, "ignore_eos": true}).to_string();
    let text = request("POST", "/v1/completions", &body) + "G";
    let mut bytes = 0;
    for _ in 0..1100 {
        let mut stream = target.connect()?;
        stream.write_all(text.as_bytes())?;
        bytes += text.len() as u64;
        std::thread::sleep(Duration::from_millis(3));
    }
    std::thread::sleep(Duration::from_secs(5));
    Ok(Spent { bytes })
}

/// Connections that send the same request again and again.
fn flood(target: &Target, connections: usize, path: &str, body: &str) -> Spent {
    let (text, bytes) = (request("POST", path, body), AtomicU64::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut piece = vec![0; 1 << 16];
                while begun.elapsed() < FLOOD {
                    let Ok(mut stream) = target.connect() else { continue };
                    if stream.write_all(text.as_bytes()).is_ok() {
                        bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
                    }
                    // The first bytes of an answer are enough.
                    drop(stream.read(&mut piece));
                }
            });
        }
    });
    Spent { bytes: bytes.into_inner() }
}

pub(super) fn messages(target: &Target) -> anyhow::Result<Spent> {
    let message = "{\"role\":\"user\",\"content\":\"\"}";
    let body = format!("{{\"messages\":[{}]}}", vec![message; 800_000].join(","));
    Ok(flood(target, 2, "/v1/chat/completions", &body))
}

pub(super) fn detokenize(target: &Target) -> anyhow::Result<Spent> {
    let body = format!("{{\"tokens\":[{}]}}", vec!["7"; 12_000_000].join(","));
    Ok(flood(target, 2, "/detokenize", &body))
}

pub(super) fn names(target: &Target) -> anyhow::Result<Spent> {
    let body = json!({"model": "m".repeat(24_000_000), "prompt": "Hi"}).to_string();
    Ok(flood(target, 2, "/v1/completions", &body))
}

pub(super) fn tokenize(target: &Target) -> anyhow::Result<Spent> {
    let body = json!({"prompt": "The quick brown fox. ".repeat(300_000 / 21)}).to_string();
    Ok(flood(target, 64, "/tokenize", &body))
}

pub(super) fn refusals(target: &Target) -> anyhow::Result<Spent> {
    let text = request("POST", "/nowhere", "");
    let bytes = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let Ok(mut stream) = target.connect() else { return };
                let mut piece = [0; 4096];
                while begun.elapsed() < FLOOD && stream.write_all(text.as_bytes()).is_ok() {
                    bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
                    if !matches!(stream.read(&mut piece), Ok(1..)) {
                        return;
                    }
                }
            });
        }
    });
    Ok(Spent { bytes: bytes.into_inner() })
}
