//! What the timed configurations cost in quality: KL to the f32 reference of the same file.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::{Map, Value};

use super::{build_program, folder, llama::Llama};
use crate::{command, root};

/// The text both follow.
const TEXT: &str = "ARCHITECTURE.md";
/// Types of llama.cpp's keys and values.
const KV: [&str; 2] = ["f16", "q8_0"];

/// Means by file and configuration.
pub(super) fn measure(
    llama: &Llama,
    files: &[(String, PathBuf)],
    runtime: &Path,
) -> anyhow::Result<Value> {
    let kl = build_program("kl")?;
    let mut means = Map::new();
    for (name, file) in files {
        eprintln!("quality of {name}");
        let mut compare = Command::new(&kl);
        compare.arg(file).arg(runtime);
        let mut written = Vec::new();
        for kv in KV {
            let logits = folder()?.join(format!("logits-{kv}"));
            llama.log_probabilities(file, kv, &root().join(TEXT), &logits)?;
            let mut named = std::ffi::OsString::from(format!("llama.cpp, KV {kv}="));
            named.push(&logits);
            compare.arg(named);
            written.push(logits);
        }
        let text = command::output(&mut compare)?;
        let found = serde_json::from_str(&text).with_context(|| format!("kl printed {text:?}"))?;
        means.insert(name.clone(), found);
        for logits in written {
            std::fs::remove_file(&logits).with_context(|| logits.display().to_string())?;
        }
    }
    Ok(Value::Object(means))
}
