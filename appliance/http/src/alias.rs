//! vLLM's names of our metrics, so that its dashboards and SageMaker's scraper see them
//! (`metrics_alias: vllm`).
//!
//! Series are renamed, not measured twice. **Source**: vLLM, `vllm/v1/metrics/loggers.py`; the
//! names SageMaker reads are those of its detailed observability.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use gimbal_engine::meters;

/// Our name, the label that a series must have, vLLM's name, and a label that only theirs has.
struct Alias(&'static str, &'static str, &'static str, &'static str);

const NAMES: &[Alias] = &[
    Alias(meters::TOKENS, "kind=\"prompt\"", "vllm:prompt_tokens_total", ""),
    Alias(meters::TOKENS, "kind=\"output\"", "vllm:generation_tokens_total", ""),
    Alias(meters::TOKENS, "kind=\"cached\"", "vllm:prompt_tokens_cached_total", ""),
    Alias(meters::TOKENS, "kind=\"cached\"", "vllm:prefix_cache_hits_total", ""),
    Alias(meters::TOKENS, "kind=\"prompt\"", "vllm:prefix_cache_queries_total", ""),
    Alias(meters::TOKENS, "kind=\"cached\"", "vllm:gpu_prefix_cache_hits_total", ""),
    Alias(meters::TOKENS, "kind=\"prompt\"", "vllm:gpu_prefix_cache_queries_total", ""),
    Alias(meters::TTFT, "", "vllm:time_to_first_token_seconds", ""),
    Alias(meters::ITL, "", "vllm:inter_token_latency_seconds", ""),
    // What it was called before.
    Alias(meters::ITL, "", "vllm:time_per_output_token_seconds", ""),
    Alias(meters::TPOT, "", "vllm:request_time_per_output_token_seconds", ""),
    Alias(meters::E2E, "", "vllm:e2e_request_latency_seconds", ""),
    Alias(meters::QUEUE, "", "vllm:request_queue_time_seconds", ""),
    Alias(meters::INFERENCE, "", "vllm:request_inference_time_seconds", ""),
    Alias(meters::PREFILL, "", "vllm:request_prefill_time_seconds", ""),
    Alias(meters::DECODE, "", "vllm:request_decode_time_seconds", ""),
    Alias(meters::REQUEST_PROMPT, "", "vllm:request_prompt_tokens", ""),
    Alias(meters::REQUEST_OUTPUT, "", "vllm:request_generation_tokens", ""),
    Alias(meters::REQUEST_LONGEST, "", "vllm:request_max_num_generation_tokens", ""),
    Alias(meters::REQUEST_LIMIT, "", "vllm:request_params_max_tokens", ""),
    Alias(meters::REQUEST_CHOICES, "", "vllm:request_params_n", ""),
    Alias(meters::REQUEST_PREEMPTIONS, "", "vllm:request_num_preemptions", ""),
    Alias(meters::STEP_TOKENS, "", "vllm:iteration_tokens_total", ""),
    Alias(meters::RUNNING, "", "vllm:num_requests_running", ""),
    Alias(meters::WAITING, "", "vllm:num_requests_waiting", ""),
    // Nobody waits for anything else here.
    Alias(meters::WAITING, "", "vllm:num_requests_waiting_by_reason", "reason=\"capacity\""),
    Alias(meters::DRAFTS, "kind=\"proposed\"", "vllm:spec_decode_num_draft_tokens_total", ""),
    Alias(meters::DRAFTS, "kind=\"accepted\"", "vllm:spec_decode_num_accepted_tokens_total", ""),
    Alias(meters::PREEMPTIONS, "", "vllm:num_preemptions_total", ""),
    Alias(meters::REQUESTS, "", "vllm:request_success_total", ""),
    Alias(
        meters::REFUSED,
        "reason=\"queue_full\"",
        "vllm:admission_rejections_total",
        "reason=\"max_num_queued_reqs\"",
    ),
    Alias(meters::KV_INFO, "", "vllm:cache_config_info", ""),
];
/// Two names of the share of KV blocks in use: the older one is what SageMaker reads.
const KV_SHARE: [&str; 2] = ["vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"];
/// Our labels by their names; values that are many to one are added up.
const LABELS: &[(&str, &str)] = &[
    ("model=\"", "model_name=\""),
    ("lane=\"", "engine=\""),
    ("finish=\"eos_token\"", "finished_reason=\"stop\""),
    ("finish=\"stop_sequence\"", "finished_reason=\"stop\""),
    ("finish=\"cancelled\"", "finished_reason=\"abort\""),
    ("finish=\"drained\"", "finished_reason=\"abort\""),
    ("finish=\"deadline\"", "finished_reason=\"abort\""),
    ("finish=\"", "finished_reason=\""),
    ("block_tokens=\"", "block_size=\""),
    ("blocks=\"", "num_gpu_blocks=\""),
    (",tokens=\"", ",kv_cache_size_tokens=\""),
    ("sequences=\"", "kv_cache_max_concurrency=\""),
    ("prefix_cache=\"", "enable_prefix_caching=\""),
];

/// The same series by vLLM's names, to be told after ours.
pub(crate) fn vllm(ours: &str) -> String {
    let mut text = String::new();
    for Alias(our, chosen, their, more) in NAMES {
        let kind = ours
            .lines()
            .find_map(|line| line.strip_prefix("# TYPE ")?.strip_prefix(our)?.strip_prefix(' '));
        let Some(kind) = kind else { continue };
        // Writing to a string cannot fail.
        writeln!(text, "# TYPE {their} {kind}").ok();
        for (series, value) in renamed(ours, our, chosen, more) {
            writeln!(text, "{their}{series} {value}").ok();
        }
    }
    kv_share(ours, &mut text);
    text
}

/// What follows the name of a series, by their labels, in order.
fn renamed(ours: &str, our: &str, chosen: &str, more: &str) -> Vec<(String, f64)> {
    let mut series: Vec<(String, f64)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for line in ours.lines() {
        let Some((rest, value)) = line.strip_prefix(our).and_then(|rest| rest.rsplit_once(' '))
        else {
            continue;
        };
        // Labels, a value, or a part of a histogram; not another metric whose name goes on.
        let part = rest.split('{').next().unwrap_or_default();
        if !["", "_bucket", "_sum", "_count"].contains(&part) || !rest.contains(chosen) {
            continue;
        }
        let Ok(value) = value.parse::<f64>() else { continue };
        let name = labels(rest, chosen, more);
        match places.get(&name) {
            Some(place) => series[*place].1 += value,
            None => {
                places.insert(name.clone(), series.len());
                series.push((name, value));
            }
        }
    }
    series
}

/// Our labels by their names; the one that chose the series is dropped.
fn labels(rest: &str, chosen: &str, more: &str) -> String {
    let mut rest = rest.to_owned();
    if !chosen.is_empty() {
        for pattern in [format!(",{chosen}"), format!("{chosen},"), chosen.to_owned()] {
            rest = rest.replacen(&pattern, "", 1);
        }
    }
    for (our, their) in LABELS {
        rest = rest.replacen(our, their, 1);
    }
    match rest.strip_suffix('}') {
        Some(open) if !more.is_empty() => format!("{open},{more}}}"),
        _ => rest,
    }
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
        let share = shares.entry(labels(series, state, "")).or_default();
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
gimbal_tokens_total{model=\"m\",lane=\"0\",kind=\"prompt\"} 7
gimbal_tokens_total{model=\"m\",lane=\"0\",kind=\"output\"} 9
# TYPE gimbal_ttft_seconds histogram
gimbal_ttft_seconds_bucket{model=\"m\",le=\"0.1\"} 1
gimbal_ttft_seconds_sum{model=\"m\"} 0.05
# TYPE gimbal_waiting gauge
gimbal_waiting{model=\"m\",lane=\"0\"} 3
# TYPE gimbal_requests_total counter
gimbal_requests_total{model=\"m\",lane=\"0\",finish=\"eos_token\"} 2
gimbal_requests_total{model=\"m\",lane=\"0\",finish=\"length\"} 4
gimbal_requests_total{model=\"m\",lane=\"0\",finish=\"stop_sequence\"} 1
# TYPE gimbal_refused_total counter
gimbal_refused_total{model=\"m\",reason=\"queue_full\"} 5
gimbal_refused_total{model=\"m\",reason=\"invalid\"} 6
# TYPE gimbal_kv_blocks gauge
gimbal_kv_blocks{model=\"m\",lane=\"0\",state=\"used\"} 1
gimbal_kv_blocks{model=\"m\",lane=\"0\",state=\"cached\"} 1
gimbal_kv_blocks{model=\"m\",lane=\"0\",state=\"free\"} 2
";

    #[test]
    fn series_have_vllms_names_labels_and_our_values() {
        let told = vllm(OURS);
        let expect = [
            "# TYPE vllm:prompt_tokens_total counter",
            "vllm:prompt_tokens_total{model_name=\"m\",engine=\"0\"} 7",
            "vllm:generation_tokens_total{model_name=\"m\",engine=\"0\"} 9",
            "vllm:prefix_cache_queries_total{model_name=\"m\",engine=\"0\"} 7",
            "# TYPE vllm:time_to_first_token_seconds histogram",
            "vllm:time_to_first_token_seconds_bucket{model_name=\"m\",le=\"0.1\"} 1",
            "vllm:time_to_first_token_seconds_sum{model_name=\"m\"} 0.05",
            "vllm:num_requests_waiting{model_name=\"m\",engine=\"0\"} 3",
            "vllm:num_requests_waiting_by_reason{model_name=\"m\",engine=\"0\",reason=\"capacity\"} 3",
            "vllm:request_success_total{model_name=\"m\",engine=\"0\",finished_reason=\"stop\"} 3",
            "vllm:request_success_total{model_name=\"m\",engine=\"0\",finished_reason=\"length\"} 4",
            "vllm:admission_rejections_total{model_name=\"m\",reason=\"max_num_queued_reqs\"} 5",
            "vllm:gpu_cache_usage_perc{model_name=\"m\",engine=\"0\"} 0.25",
            "vllm:kv_cache_usage_perc{model_name=\"m\",engine=\"0\"} 0.25",
        ];
        for line in expect {
            assert_eq!(told.lines().filter(|told| *told == line).count(), 1, "{line} in {told}");
        }
        let refused = told.lines().filter(|l| l.starts_with("vllm:admission_rejections_total{"));
        assert_eq!(refused.count(), 1, "other refusals are no rejections");
    }
}
