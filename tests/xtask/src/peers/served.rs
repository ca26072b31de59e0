//! Both servers at once, one idle while the other is measured, by `gimbal bench`.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::llama::Llama;
use super::{THREADS, folder};
use crate::serve::Running;
use crate::{command, models};

const OURS: &str = "8097";
const THEIRS: &str = "8096";
/// Clients and requests of a run: some seconds of the slower server.
const LOADS: [(&str, &str); 3] = [("1", "6"), ("8", "16"), ("32", "32")];

/// What is served by whom.
pub(super) struct Served<'a> {
    pub(super) gimbal: &'a Path,
    pub(super) runtime: &'a Path,
    pub(super) llama: &'a Llama,
}

impl Served<'_> {
    /// Both servers on a file, by turns; our resident memory after the load.
    pub(super) fn compare(&self, file: &Path, rounds: usize) -> anyhow::Result<Value> {
        let ours = self.serve(file)?;
        let _theirs = Running(self.llama.serve(file, THEIRS)?);
        models::wait_until_ready(OURS, "/ping")?;
        models::wait_until_ready(THEIRS, "/health")?;
        let mut cells = Map::new();
        for (clients, requests) in LOADS {
            let mut bench = self.bench(&[OURS, THEIRS]);
            bench.args(["--concurrency", clients, "--requests", requests, "--warmup", "2"]);
            bench.args(["--prompt-tokens", "128", "--output-tokens", "128", "--no-ping"]);
            bench.arg("--repeats").arg(rounds.to_string());
            cells.insert(clients.to_owned(), cell(&mut bench)?);
        }
        Ok(json!({ "cells": cells, "memory": memory(&ours)? }))
    }

    /// First tokens of prompts that share 1,000 tokens, and of prompts that share none.
    pub(super) fn prefix(&self, model: &Path) -> anyhow::Result<Value> {
        let _ours = self.serve(model)?;
        models::wait_until_ready(OURS, "/ping")?;
        let mut both = Map::new();
        for (name, prompt, shared) in [("cold", "1016", "0"), ("warm", "16", "1000")] {
            let mut bench = self.bench(&[OURS]);
            bench.args(["--concurrency", "1", "--requests", "10", "--no-ping"]);
            bench.args(["--prompt-tokens", prompt, "--shared-prefix", shared]);
            both.insert(name.to_owned(), cell(bench.args(["--output-tokens", "2"]))?);
        }
        Ok(Value::Object(both))
    }

    /// From a start of the process to its first token, with packed weights in the cache.
    pub(super) fn boot(&self, model: &Path) -> anyhow::Result<Value> {
        let mut bench = Command::new(self.gimbal);
        bench.args(["bench", "--repeats", "7", "--boot"]).arg(model);
        let json = folder()?.join("boot.json");
        bench.arg("--json").arg(&json).arg("--").arg("--onnxruntime").arg(self.runtime);
        command::run(&mut bench)?;
        // The rest of the report names paths of this machine.
        Ok(read(&json)?["boots"].take())
    }

    fn serve(&self, model: &Path) -> anyhow::Result<Running> {
        let mut server = Command::new(self.gimbal);
        server.arg("serve").arg(model).arg("--onnxruntime").arg(self.runtime);
        server.args(["--host", "127.0.0.1", "--port", OURS, "--log-level", "warn"]);
        server.args(["--threads", THREADS, "--max-rolling-batch-size", "32"]);
        server.args(["--max-model-len", "2048"]);
        Ok(Running(server.spawn().context("cannot start the server")?))
    }

    fn bench(&self, ports: &[&str]) -> Command {
        let mut bench = Command::new(self.gimbal);
        bench.arg("bench").args(ports.iter().map(|port| format!("http://127.0.0.1:{port}")));
        bench
    }
}

/// The medians of the only cell, for each server.
fn cell(bench: &mut Command) -> anyhow::Result<Value> {
    let json = folder()?.join("bench.json");
    command::run(bench.arg("--json").arg(&json))?;
    let mut report = read(&json)?;
    let cell = report["cells"][0].take();
    Ok(without_records(cell))
}

/// The same without each request's record.
fn without_records(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| name != "requests");
            Value::Object(kept.map(|(name, value)| (name, without_records(value))).collect())
        }
        Value::Array(all) => all.into_iter().map(without_records).collect(),
        other => other,
    }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Bytes that the server has in memory: all, of the mapped weights, and of the KV cache, which is by
/// far its largest mapping.
fn memory(server: &Running) -> anyhow::Result<Value> {
    let path = format!("/proc/{}/smaps", server.0.id());
    let maps = std::fs::read_to_string(&path).context(path)?;
    let (mut all, mut weights, mut kv, mut largest) = (0, 0, 0, 0);
    let (mut is_weights, mut is_largest) = (false, false);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (name, value) = (words.next().unwrap_or_default(), words.next());
        let bytes = value.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024;
        match name {
            "Size:" => {
                is_largest = bytes > largest;
                largest = largest.max(bytes);
            }
            "Rss:" => {
                all += bytes;
                weights += if is_weights { bytes } else { 0 };
                kv = if is_largest { bytes } else { kv };
            }
            _ if !name.ends_with(':') => is_weights = line.ends_with(".packed"),
            _ => {}
        }
    }
    Ok(json!({ "resident": all, "weights": weights, "kv": kv }))
}
