//! The scheduler on the real model: preemption, prefix cache and rolling batches change no token.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use gimbal_conformance::client::{post, send};
use gimbal_conformance::server::{Server, binary_path};
use gimbal_conformance::{library_path, model_path};
use serde_json::json;

const CLIENTS: usize = 64;
/// Longest prompt and output of a client, in tokens.
const PROMPT_MAX: u64 = 900;
const OUTPUT_MAX: u64 = 200;
/// Bytes of KV a block of 16 tokens takes in the default model: 30 layers, 3 heads of 64, f16.
const BLOCK_BYTES: u64 = 30 * 2 * 3 * 64 * 2 * 16;
/// Holds one sequence of the longest kind and little else.
const POOL_BLOCKS: u64 = 60;
const WORDS: [&str; 12] = [
    " the", " river", " of", " time", " and", " many", " small", " houses", " stood", " near",
    " a", " hill",
];

fn setup() -> Option<(PathBuf, String)> {
    binary_path()?;
    Some((model_path()?, library_path()?.to_str()?.to_owned()))
}

/// A prompt of about `length` tokens and how many to generate, from a seed.
struct Client {
    prompt: String,
    output: u64,
}

fn clients(seed: u64) -> Vec<Client> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    (0..CLIENTS)
        .map(|i| {
            // Every eighth prompt is long; the others are short and go on for long, which is what
            // runs a pool dry.
            let is_long = i % 8 == 0;
            let prompt_most = if is_long { PROMPT_MAX } else { 60 };
            let length = if i == 0 { PROMPT_MAX } else { 5 + below(prompt_most - 4) };
            let word = |_| WORDS[usize::try_from(below(12)).unwrap_or(0)];
            let prompt = (0..length).map(word).collect();
            let output = if is_long { 1 + below(20) } else { OUTPUT_MAX - below(100) };
            Client { prompt, output }
        })
        .collect()
}

fn ask(server: &Server, client: &Client) -> anyhow::Result<Vec<u64>> {
    // The model would end most of these early; the pool is to run dry.
    let parameters =
        json!({ "max_new_tokens": client.output, "details": true, "ignore_eos_token": true });
    let body = json!({ "inputs": client.prompt, "parameters": parameters });
    let (status, answer) = post(server.address, "/invocations", &body)?;
    ensure!(status == 200, "{status}: {answer}");
    let tokens = answer["details"]["tokens"].as_array().context("tokens")?;
    Ok(tokens.iter().filter_map(|t| t["id"].as_u64()).collect())
}

/// 64 clients at batch limits 16 and 64, with and without the prefix cache, in a pool small enough
/// for preemptions: each gets the tokens it gets alone, and all blocks come back.
#[test]
fn every_client_gets_the_tokens_it_gets_alone() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let seed = std::env::var("GIMBAL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_124);
    eprintln!("GIMBAL_SEED={seed}");
    let clients = clients(seed);
    let (pool, longest) = ((POOL_BLOCKS * BLOCK_BYTES).to_string(), "960");
    let common = ["--onnxruntime", library.as_str(), "--max-model-len", longest];
    let timeout = ["--invocation-timeout-s", "600"];
    let alone = {
        let server = Server::start(&model, &[&common[..], &timeout].concat())?;
        clients.iter().map(|c| ask(&server, c)).collect::<anyhow::Result<Vec<_>>>()?
    };
    for (batch, cache) in [("16", "true"), ("64", "false")] {
        let own = [
            "--max-rolling-batch-size",
            batch,
            "--enable-prefix-caching",
            cache,
            "--kv-cache-bytes",
            &pool,
        ];
        let server = Server::start(&model, &[&common[..], &timeout, &own].concat())?;
        let together = std::thread::scope(|scope| {
            let server = &server;
            let ask = |c| scope.spawn(move || ask(server, c));
            let threads: Vec<_> = clients.iter().map(ask).collect();
            let join =
                |t: std::thread::ScopedJoinHandle<'_, _>| t.join().expect("no client panics");
            threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
        })?;
        for (i, (found, expect)) in together.iter().zip(&alone).enumerate() {
            assert_eq!(found, expect, "client {i}, batch {batch}, prefix cache {cache}");
        }
        let preemptions = server.metric("gimbal_preemptions_total", "")?;
        eprintln!("batch {batch}, prefix cache {cache}: {preemptions} preemptions");
        assert!(preemptions >= 10.0, "{preemptions}");
        let blocks = |state: &str| server.metric("gimbal_kv_blocks", &format!("state=\"{state}\""));
        // The lane tells its books after its clients: the last one may be a moment ahead.
        for _ in 0..200 {
            if blocks("used")? == 0.0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let (used, cached, free) = (blocks("used")?, blocks("cached")?, blocks("free")?);
        assert_eq!(
            (used, cached + free),
            (0.0, POOL_BLOCKS as f64),
            "used {used}, cached {cached}, free {free}"
        );
    }
    Ok(())
}

/// A second request that begins with the same 1,000 tokens computes its suffix only.
#[test]
fn a_shared_prefix_is_computed_once() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let server = Server::start(&model, &["--onnxruntime", &library])?;
    let prefix: String = (0..1000).map(|i| WORDS[i * 7 % 12]).collect();
    let computed = |suffix: &str| -> anyhow::Result<f64> {
        let before = server.metric("gimbal_rows_total", "kind=\"prefill\"")?;
        let client = Client { prompt: format!("{prefix}{suffix}"), output: 4 };
        ask(&server, &client)?;
        Ok(server.metric("gimbal_rows_total", "kind=\"prefill\"")? - before)
    };
    let cold = computed(" and then it rained for")?;
    let warm = computed(" but the sun came out of")?;
    eprintln!("prompt rows computed: {cold} cold, {warm} with the prefix cached");
    assert!(cold >= 1000.0, "{cold}");
    // The suffix has 6 tokens; the rest of the last shared block, at most 15, is not a full one.
    assert!(warm <= 6.0 + 15.0, "{warm}");
    Ok(())
}

/// Every answer that a person sees names what it is about: the metrics page has help for all.
#[test]
fn metrics_are_described() -> anyhow::Result<()> {
    let Some((model, library)) = setup() else { return Ok(()) };
    let server = Server::start(&model, &["--onnxruntime", &library])?;
    let text = send(server.address, "GET", "/metrics", "")?.text()?;
    let names = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next());
    let names: Vec<&str> = names.collect();
    assert!(names.contains(&"gimbal_kv_blocks"), "{text}");
    for name in names {
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    Ok(())
}
