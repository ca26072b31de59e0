//! Models come and go beside one that serves, on the real backend: needs what `cargo xtask test` sets.

use std::ffi::OsString;
use std::time::Duration;

use gimbal_engine::{FinishReason, GenerateRequest, Prompt, Service};
use gimbal_http::{AppState, HttpSettings};
use serde_json::Value;

use super::*;
use crate::cli;
use crate::config::Process;

const STREAMS: usize = 16;
const CYCLES: usize = 20;
/// Tokens of each stream.
const TOKENS: u32 = 64;
/// Between the second cycle and the last: what is not given back would be lost in each of them.
const GROWTH_MAX_BYTES: u64 = 8 << 20;

/// Model and ONNX Runtime, both from `cargo xtask test`.
fn files() -> Option<(OsString, OsString)> {
    let found = ["GIMBAL_TEST_MODEL", "GIMBAL_ONNXRUNTIME"].map(std::env::var_os);
    let [Some(model), Some(library)] = found else {
        assert!(std::env::var_os("GIMBAL_TEST_SKIPS").is_none(), "`cargo xtask test` sets them");
        eprintln!("skip: no model and ONNX Runtime; `cargo xtask test` sets them");
        return None;
    };
    Some((model, library))
}

/// What the f32 reference says to the README's prompt, and the prompt.
fn golden() -> anyhow::Result<(String, Vec<u32>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/smollm2.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let case = &all["cases"][usize::try_from(all["readme"].as_u64().unwrap_or(0))?];
    let tokens: Vec<u32> = serde_json::from_value(case["tokens"].clone())?;
    Ok((serde_json::from_value(case["text"].clone())?, tokens))
}

async fn continued(service: &Service, prompt: String) -> anyhow::Result<Vec<u32>> {
    let prompt = Prompt::Text(prompt);
    let request = GenerateRequest {
        max_new_tokens: Some(TOKENS),
        ignore_eos: true,
        ..GenerateRequest::new(prompt)
    };
    let (mut choices, _) = service.generate(request).await?.complete().await;
    let only = choices.remove(0);
    anyhow::ensure!(only.finish == FinishReason::Length, "it ended by {:?}", only.finish);
    Ok(only.tokens.iter().map(|(token, _)| token.id).collect())
}

/// A failure has its exit code and is no error of the standard library.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

/// Resident bytes of this process.
fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    Ok(1024 * kib.parse::<u64>()?)
}

/// 20 times a second model is loaded, asked and unloaded while 16 streams of the first go on: they
/// are told what each is told alone, and memory comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_comes_and_goes_under_the_streams_of_another() -> anyhow::Result<()> {
    let Some((model, library)) = files() else { return Ok(()) };
    let named = |name: &str| {
        let mut flag = OsString::from(format!("{name}="));
        flag.push(&model);
        flag
    };
    let asked = |names: &[&str]| {
        let mut line: Vec<OsString> = vec!["gimbal".into(), "serve".into()];
        line.extend(["--onnxruntime".into(), library.clone()]);
        line.extend(["--device-memory-share".into(), "0.3".into()]);
        names.iter().for_each(|name| line.extend(["--model".into(), named(name)]));
        cli::asked(line)
    };
    let (settings, both) = asked(&["stays", "goes"]).map_err(told)?;
    let [stays, goes] = <[Wanted; 2]>::try_from(both).expect("two models");
    let devices = Arc::new(Devices::here(&Process::of(&settings)).map_err(told)?);
    let state = AppState::new(HttpSettings::default(), None);
    load_all(&devices, vec![stays], &state).await.map_err(told)?;
    let first = Arc::clone(&state.models().services()[0]);

    let (readme, expected) = golden()?;
    let prompts =
        (0..STREAMS).map(|n| if n == 0 { readme.clone() } else { format!("{n}, {}, ", n + 1) });
    let prompts: Vec<String> = prompts.collect();
    let mut alone = Vec::new();
    for prompt in &prompts {
        alone.push(continued(&first, prompt.clone()).await?);
    }
    assert_eq!(alone[0][..16], expected[..16], "the reference's");

    let mut after = Vec::new();
    for cycle in 0..CYCLES {
        let streams = prompts.iter().map(|prompt| {
            let (first, prompt) = (Arc::clone(&first), prompt.clone());
            tokio::spawn(async move { continued(&first, prompt).await })
        });
        let streams: Vec<_> = streams.collect();
        load_all(&devices, vec![goes.clone()], &state).await.map_err(told)?;
        let services = state.models().services();
        assert_eq!(services.len(), 2, "cycle {cycle}");
        let second = continued(&services[1], readme.clone()).await?;
        assert_eq!(second, alone[0], "cycle {cycle}: the second model, which is the same file");
        drop(services);
        state.models().unload("goes", Duration::from_secs(20)).await?;
        for (stream, alone) in streams.into_iter().zip(&alone) {
            assert_eq!(stream.await??, *alone, "cycle {cycle}");
        }
        after.push(resident()?);
    }
    let grown = after[CYCLES - 1].saturating_sub(after[1]);
    let mib: Vec<u64> = after.iter().map(|bytes| bytes >> 20).collect();
    eprintln!("resident MiB after each cycle: {mib:?}");
    assert!(grown <= GROWTH_MAX_BYTES, "{grown} bytes are lost; MiB after each cycle: {mib:?}");
    Ok(())
}
