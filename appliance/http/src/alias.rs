//! vLLM's names of our metrics, so that its dashboards and SageMaker's scraper see them
//! (`metrics_alias: vllm`).
//!
//! Series are renamed, not measured twice. **Source**: vLLM, `vllm/v1/metrics/loggers.py`; the
//! names SageMaker reads are those of its detailed observability.

use std::collections::BTreeMap;
use std::fmt::Write;

use gimbal_engine::meters;

/// Our name, the label a series must have, vLLM's name.
const NAMES: &[(&str, &str, &str)] = &[
    (meters::TOKENS, "kind=\"prompt\"", "vllm:prompt_tokens_total"),
    (meters::TOKENS, "kind=\"output\"", "vllm:generation_tokens_total"),
    (meters::TOKENS, "kind=\"cached\"", "vllm:prefix_cache_hits_total"),
    (meters::TOKENS, "kind=\"prompt\"", "vllm:prefix_cache_queries_total"),
    (meters::TTFT, "", "vllm:time_to_first_token_seconds"),
    (meters::ITL, "", "vllm:inter_token_latency_seconds"),
    (meters::E2E, "", "vllm:e2e_request_latency_seconds"),
    (meters::QUEUE, "", "vllm:request_queue_time_seconds"),
    (meters::RUNNING, "", "vllm:num_requests_running"),
    (meters::WAITING, "", "vllm:num_requests_waiting"),
    (meters::PREEMPTIONS, "", "vllm:num_preemptions_total"),
    (meters::REQUESTS, "", "vllm:request_success_total"),
];
/// Two names of the share of KV blocks in use: the older one is what SageMaker reads.
const KV_SHARE: [&str; 2] = ["vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"];

/// The same series by vLLM's names, to be told after ours.
pub(crate) fn vllm(ours: &str) -> String {
    let mut text = String::new();
    for (our, label, their) in NAMES {
        let kind = ours
            .lines()
            .find_map(|line| line.strip_prefix("# TYPE ")?.strip_prefix(our)?.strip_prefix(' '));
        let Some(kind) = kind else { continue };
        // Writing to a string cannot fail.
        writeln!(text, "# TYPE {their} {kind}").ok();
        for line in ours.lines().filter(|line| line.contains(label)) {
            let Some(rest) = line.strip_prefix(our) else { continue };
            // What follows the name is a label, a value, or a part of a histogram.
            if rest.starts_with(['{', ' ', '_']) {
                writeln!(text, "{their}{}", labels(rest, label)).ok();
            }
        }
    }
    kv_share(ours, &mut text);
    text
}

/// Our labels by their names; the one that chose the series is dropped.
fn labels(rest: &str, chosen: &str) -> String {
    let mut rest = rest.to_owned();
    if !chosen.is_empty() {
        for pattern in [format!(",{chosen}"), format!("{chosen},"), chosen.to_owned()] {
            rest = rest.replacen(&pattern, "", 1);
        }
    }
    rest.replace("model=\"", "model_name=\"")
        .replace("lane=\"", "engine=\"")
        .replace("finish=\"", "finished_reason=\"")
}

/// Used blocks of all blocks, for each model and lane.
fn kv_share(ours: &str, text: &mut String) {
    let mut shares: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in ours.lines() {
        let Some(rest) = line.strip_prefix(meters::KV_BLOCKS) else { continue };
        let Some((series, value)) = rest.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let states = ["state=\"used\"", "state=\"cached\"", "state=\"free\""];
        let Some(state) = states.iter().find(|state| series.contains(**state)) else { continue };
        let share = shares.entry(labels(series, state)).or_default();
        share.1 += value;
        share.0 += if *state == states[0] { value } else { 0.0 };
    }
    for name in KV_SHARE.iter().filter(|_| !shares.is_empty()) {
        writeln!(text, "# TYPE {name} gauge").ok();
        for (series, (used, all)) in &shares {
            writeln!(text, "{name}{series} {}", used / all.max(1.0)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "\
# TYPE gimbal_tokens_total counter
gimbal_tokens_total{model=\"m\",kind=\"prompt\"} 7
gimbal_tokens_total{model=\"m\",kind=\"output\"} 9
# TYPE gimbal_ttft_seconds histogram
gimbal_ttft_seconds_bucket{model=\"m\",le=\"0.1\"} 1
gimbal_ttft_seconds_sum{model=\"m\"} 0.05
# TYPE gimbal_kv_blocks gauge
gimbal_kv_blocks{model=\"m\",lane=\"0\",state=\"used\"} 1
gimbal_kv_blocks{model=\"m\",lane=\"0\",state=\"cached\"} 1
gimbal_kv_blocks{model=\"m\",lane=\"0\",state=\"free\"} 2
";

    #[test]
    fn series_have_vllms_names_labels_and_our_values() {
        let expect = "\
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{model_name=\"m\"} 7
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{model_name=\"m\"} 9
# TYPE vllm:prefix_cache_hits_total counter
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{model_name=\"m\"} 7
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"0.1\"} 1
vllm:time_to_first_token_seconds_sum{model_name=\"m\"} 0.05
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{model_name=\"m\",engine=\"0\"} 0.25
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{model_name=\"m\",engine=\"0\"} 0.25
";
        assert_eq!(vllm(OURS), expect);
    }
}
