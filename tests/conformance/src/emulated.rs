//! What is asked of a model on emulated devices: golden prompts, as far as 16-bit products allow.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::client::send;
use crate::golden::{self, Greedy, Quality};
use crate::server::{Server, binary_path};

/// Tokens of an answer.
pub const TOKENS: usize = 16;
/// A choice whose gap to the next one is below this may differ: what bf16 leaves of logits of about 20.
const GAP: f32 = 0.35;

/// A prompt, the reference's tokens after it, and how clear each choice was.
#[derive(Debug)]
pub struct Case {
    /// The prompt.
    pub text: String,
    /// The reference's tokens.
    pub tokens: Vec<u32>,
    gaps: Vec<f32>,
}

impl Case {
    /// The model and the first golden prompts, where `cargo xtask test` has set what is needed.
    ///
    /// # Errors
    /// The golden files cannot be read.
    pub fn first(count: usize) -> anyhow::Result<Option<(PathBuf, Vec<Self>)>> {
        let (Some(model), Some(_)) = (crate::model_path(), binary_path()) else { return Ok(None) };
        let (greedy, quality): (Greedy, Quality) =
            (golden::read("smollm2")?, golden::read("quality")?);
        let greedy = greedy.cases.into_iter();
        let greedy = greedy.map(|c| Self { text: c.text, tokens: c.tokens, gaps: c.gaps });
        let quality = quality.cases.into_iter();
        let quality = quality.map(|c| Self { text: c.text, tokens: c.tokens, gaps: c.gap });
        Ok(Some((model, greedy.chain(quality).take(count).collect())))
    }

    /// Says how many of the tokens are the reference's: all up to its first unclear choice must be.
    ///
    /// # Errors
    /// A clear choice is another one.
    pub fn check(&self, found: &[u32]) -> anyhow::Result<usize> {
        for (i, id) in found.iter().enumerate() {
            if *id != self.tokens[i] {
                let gap = self.gaps[i];
                ensure!(gap < GAP, "{:?}: token {i} is {id}, gap {gap}", self.text);
                // From here on both continue other texts.
                return Ok(i);
            }
        }
        Ok(found.len())
    }
}

/// The token ids of a stream.
///
/// # Errors
/// It is refused, breaks off, or has not so many.
pub fn stream(address: SocketAddr, prompt: &str, tokens: usize) -> anyhow::Result<Vec<u32>> {
    let parameters =
        json!({ "max_new_tokens": tokens, "ignore_eos_token": true, "do_sample": false });
    let body = json!({ "inputs": prompt, "stream": true, "parameters": parameters });
    let answer = send(address, "POST", "/invocations", &body.to_string())?;
    let (status, text) = (answer.status, answer.text()?);
    ensure!(status == 200, "{status}: {text}");
    let mut ids = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(line["error"].is_null(), "{text}");
        ids.extend(line["token"]["id"].as_u64().map(u32::try_from).transpose()?);
    }
    ensure!(ids.len() == tokens, "{} tokens: {text}", ids.len());
    Ok(ids)
}

/// All prompts at once, and something that happens while they run.
///
/// # Errors
/// One of the streams fails, or what happens does.
pub fn streams(
    server: &Server,
    cases: &[Case],
    during: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Vec<u32>>> {
    let address = server.address;
    std::thread::scope(|scope| {
        let one = |case: &Case| {
            let prompt = case.text.clone();
            scope.spawn(move || stream(address, &prompt, TOKENS))
        };
        let streams: Vec<_> = cases.iter().map(one).collect();
        during()?;
        let ended = streams.into_iter();
        ended.map(|stream| stream.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    })
}

/// The most memory that a process has had, the pages of files included.
///
/// # Errors
/// There is no such process.
pub fn memory_peak(process: u32) -> anyhow::Result<u64> {
    let text =
        std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
    Ok(kib.parse::<u64>()? << 10)
}

/// What `gimbal plan` says in this text that a model takes of a platform's devices.
///
/// # Errors
/// It says something else.
pub fn planned_bytes(text: &str, platform: &str) -> anyhow::Result<u64> {
    let start = format!("planned: on {platform}: ");
    let bytes = text.lines().find_map(|line| line.strip_prefix(&start));
    let bytes = bytes.and_then(|line| line.split(' ').next());
    Ok(bytes.with_context(|| text.to_owned())?.parse()?)
}
