//! `/metrics`: every line of the table is told, and by vLLM's names what its tests and boards look for.
//!
//! Next: `lmi.rs`.

use std::collections::BTreeSet;

use gimbal_batch::{Bucket, Limits, Shape};
use gimbal_engine::Policy;
use gimbal_engine::meters::{Kind, TABLE};
use gimbal_http::HttpSettings;
use gimbal_sim::{Script, Sensors};
use serde_json::{Value, json};

use crate::readings;
use crate::rig::{Server, lane, limits, policy};

/// Names of vLLM's tests and dashboards.
const NAMES: &str = include_str!("../data/vllm_metrics.json");

async fn server(name: &str) -> Server {
    let settings = HttpSettings { vllm_metrics: true, ..HttpSettings::default() };
    let lane = lane(&limits(), &Script::default());
    Server::start_with(settings, name, policy(), lane).await
}

/// The sum of a model's series of one name, or `None` if there is none.
fn value(metrics: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let series = metrics.lines().filter_map(|line| {
        let (series, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let is_it = series.starts_with('{') && labels.iter().all(|label| series.contains(label));
        is_it.then(|| value.parse::<f64>().expect("a number"))
    });
    series.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

fn names() -> (Vec<String>, BTreeSet<String>) {
    let document: Value = serde_json::from_str(NAMES).expect("JSON");
    let list = |value: &Value| -> Vec<String> {
        let names = value.as_array().expect("a list").iter();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    };
    let tests = list(&document["tests/entrypoints/serve/instrumentator/test_metrics.py"]);
    let boards = document["boards"].as_object().expect("boards");
    let all = tests.iter().cloned().chain(boards.values().flat_map(list));
    (tests.clone(), all.collect())
}

#[tokio::test]
async fn every_metric_of_the_table_is_told() {
    // A device with compiled shapes has series that others have not.
    let shape = |sequences, rows_each| Bucket { sequences, rows_each, context: 128 };
    let shape = Shape::Buckets(vec![shape(1, 64), shape(8, 1)]);
    let lane = lane(&Limits { shape, ..limits() }, &Script::default());
    let settings = HttpSettings { vllm_metrics: true, ..HttpSettings::default() };
    let server = Server::start_with(settings, "told", policy(), lane).await;
    let (used, load, temperature) = (Some(7), Some(0.5), Some(40.0));
    let told = Sensors { memory_used_bytes: used, load, temperature, errors: Some(0) };
    readings::Devices::new("told", told).join(&server);
    readings::ask(&server).await;
    let body = json!({"prompt": "abc", "max_tokens": 3, "temperature": 0});
    assert_eq!(server.post("/v1/completions", &body).await.status, 200);
    server.service().idle().await;
    let metrics = server.get("/metrics").await.body;
    for meter in TABLE {
        let (kind, suffix) = match meter.kind {
            Kind::Counter => ("counter", ""),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram | Kind::Sizes => ("histogram", "_count"),
        };
        let name = meter.name;
        assert!(metrics.contains(&format!("# TYPE {name} {kind}\n")), "{name} {kind} in {metrics}");
        let is_series = |line: &str| {
            let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(suffix));
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        assert!(metrics.lines().any(is_series), "{name} has no series in {metrics}");
    }
    let step = ["model=\"told\"", "shape=\"8x1x128\"", "fit=\"padded\""];
    assert!(value(&metrics, "gimbal_shape_steps_total", &step) >= Some(2.0), "{metrics}");
    let padding = value(&metrics, "gimbal_padding_rows_total", &["model=\"told\""]);
    assert!(padding >= Some(14.0), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn names_of_vllm_s_tests_and_boards_are_there_with_their_labels() {
    let server = server("aliases").await;
    // Also before the first request: a board of a fresh server is not empty.
    let metrics = server.get("/metrics").await.body;
    let (tests, all) = names();
    assert!(tests.len() >= 49 && all.len() > tests.len(), "{} {}", tests.len(), all.len());
    for name in &all {
        let model = "model_name=\"aliases\"";
        // Clients of Prometheus leave `_total` out of counters' names.
        let (total, count) = (format!("{name}_total"), format!("{name}_count"));
        let named = [name, &total, &count]
            .into_iter()
            .find(|name| value(&metrics, name, &[model]).is_some());
        let named = named.unwrap_or_else(|| panic!("{name} in {metrics}"));
        if !name.contains("admission_rejections") {
            assert!(value(&metrics, named, &[model, "engine=\"0\""]).is_some(), "{name}: engine");
        }
        let family = ["_sum", "_bucket", "_count"]
            .iter()
            .find_map(|part| named.strip_suffix(part))
            .unwrap_or(named);
        let is_histogram = family != named;
        let kind = match named.ends_with("_total") {
            _ if is_histogram => "histogram",
            true => "counter",
            false => "gauge",
        };
        assert!(metrics.contains(&format!("# TYPE {family} {kind}\n")), "{family} is no {kind}");
    }
    for reason in ["stop", "length", "abort", "error"] {
        let reason = format!("finished_reason=\"{reason}\"");
        let labels = ["model_name=\"aliases\"", &reason];
        assert_eq!(value(&metrics, "vllm:request_success_total", &labels), Some(0.0), "{reason}");
    }
    let labels = [
        "model_name=\"aliases\"",
        "block_size=\"4\"",
        "num_gpu_blocks=\"256\"",
        "kv_cache_size_tokens=\"1024\"",
        "kv_cache_max_concurrency=\"8\"",
        "enable_prefix_caching=\"true\"",
    ];
    assert_eq!(value(&metrics, "vllm:cache_config_info", &labels), Some(1.0));
    let series: Vec<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
        .collect();
    let distinct: BTreeSet<&str> = series.iter().copied().collect();
    assert_eq!(distinct.len(), series.len(), "no series is told twice");
    server.stop().await;
}

/// As vLLM's `test_metrics_counts` expects them, request by request.
#[tokio::test]
async fn values_are_those_of_the_requests() {
    let server = server("values").await;
    server.service().warm_up().await.expect("a token");
    let (requests, max_tokens) = (3.0, 5.0);
    for _ in 0..3 {
        let body = json!({
            "prompt": "abcdefg", "max_tokens": 5, "temperature": 0, "ignore_eos": true,
        });
        assert_eq!(server.post("/v1/completions", &body).await.status, 200);
    }
    let body = json!({
        "prompt": "ab", "max_tokens": 2, "n": 3, "temperature": 0, "ignore_eos": true,
    });
    server.service().idle().await;
    let metrics = server.get("/metrics").await.body;
    let of = |metrics: &str, name: &str| {
        let name = format!("vllm:{name}");
        value(metrics, &name, &["model_name=\"values\""]).unwrap_or_else(|| panic!("{name}"))
    };
    let expect = [
        ("time_to_first_token_seconds_count", requests),
        ("inter_token_latency_seconds_count", requests * (max_tokens - 1.0)),
        ("time_per_output_token_seconds_count", requests * (max_tokens - 1.0)),
        ("request_time_per_output_token_seconds_count", requests),
        ("e2e_request_latency_seconds_count", requests),
        ("request_queue_time_seconds_count", requests),
        ("request_inference_time_seconds_count", requests),
        ("request_prefill_time_seconds_count", requests),
        ("request_decode_time_seconds_count", requests),
        ("request_prompt_tokens_sum", requests * 7.0),
        ("request_prompt_tokens_count", requests),
        ("request_generation_tokens_sum", requests * max_tokens),
        ("request_generation_tokens_count", requests),
        ("request_max_num_generation_tokens_sum", requests * max_tokens),
        ("request_params_n_sum", requests),
        ("request_params_n_count", requests),
        ("request_params_max_tokens_sum", requests * max_tokens),
        ("request_num_preemptions_sum", 0.0),
        ("request_num_preemptions_count", requests),
        ("iteration_tokens_total_sum", requests * (7.0 + max_tokens)),
        ("iteration_tokens_total_count", requests * max_tokens),
        ("prompt_tokens_total", requests * 7.0),
        ("generation_tokens_total", requests * max_tokens),
        ("request_success_total", requests),
        ("num_requests_running", 0.0),
        ("num_requests_waiting_by_reason", 0.0),
    ];
    for (name, expect) in expect {
        let found = of(&metrics, name);
        assert!((found - expect).abs() < 1e-9, "{name}: {found}, not {expect}");
    }
    assert!(of(&metrics, "prefix_cache_hits_total") > 0.0, "the same prompt three times");
    assert_eq!(server.post("/v1/completions", &body).await.status, 200);
    server.service().idle().await;
    let more = server.get("/metrics").await.body;
    for (name, rise) in [
        ("request_params_n_sum", 3.0),
        ("request_params_n_count", 1.0),
        ("request_generation_tokens_count", 3.0),
        ("request_max_num_generation_tokens_sum", 2.0),
        ("iteration_tokens_total_sum", 2.0 + 6.0),
        ("request_success_total", 3.0),
    ] {
        let found = of(&more, name) - of(&metrics, name);
        assert!((found - rise).abs() < 1e-9, "{name} rose by {found}, not {rise}");
    }
    server.stop().await;
}

/// Too few blocks for two long answers: one gives its own up, and its request says so.
#[tokio::test]
async fn preemptions_are_told_by_request() {
    let settings = HttpSettings { vllm_metrics: true, ..HttpSettings::default() };
    let mut tight = limits();
    tight.kv.blocks = 36;
    let policy = Policy { prefix_cache: false, ..policy() };
    let lane = lane(&tight, &Script::default());
    let server = Server::start_with(settings, "preempted", policy, lane).await;
    let body = json!({
        "prompt": "abcdefgh", "max_tokens": 100, "n": 2, "temperature": 0, "ignore_eos": true,
    });
    assert_eq!(server.post("/v1/completions", &body).await.status, 200);
    server.service().idle().await;
    let metrics = server.get("/metrics").await.body;
    let of = |name: &str| value(&metrics, name, &["\"preempted\""]).expect("a series");
    let all = of("gimbal_preemptions_total");
    assert!(all > 0.0, "36 blocks hold one answer of 108 tokens, not two");
    assert!((of("gimbal_request_preemptions_sum") - all).abs() < 1e-9);
    assert!((of("vllm:request_num_preemptions_sum") - all).abs() < 1e-9);
    server.stop().await;
}
