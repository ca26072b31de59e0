//! OpenVINO GenAI and mistral.rs, from their Python packages: one sequence of the model's own file.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Map, Value};

use super::THREADS;
use crate::{clients, command, root};

/// Engines as `tests/clients/peers.py` names them.
const ENGINES: [&str; 2] = ["openvino", "mistralrs"];

/// Tokens a second of each engine; null where it could not be measured, which is then told.
pub(super) fn measure(model: &Path) -> Value {
    let programs = clients::install("peers.txt", "OpenVINO GenAI and mistral.rs");
    let script = root().join("tests/clients/peers.py");
    let rate = |engine: &str| -> anyhow::Result<Value> {
        let programs = programs.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let mut python = Command::new(programs.join("python"));
        let text = command::output(python.arg(&script).arg(engine).arg(model).arg(THREADS))?;
        // The engines print too; the result is the last line.
        let line = text.lines().last().unwrap_or_default();
        let mut measured: Value = serde_json::from_str(line).with_context(|| engine.to_owned())?;
        Ok(measured["tokens_per_second"].take())
    };
    let mut rates = Map::new();
    for engine in ENGINES {
        let found = rate(engine).unwrap_or_else(|error| {
            eprintln!("{engine}: {error:#}");
            Value::Null
        });
        rates.insert(engine.to_owned(), found);
    }
    Value::Object(rates)
}
