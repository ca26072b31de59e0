//! Settings as values with types, made of the table once: what the rest of the binary reads.
//!
//! Defaults stand in the table alone; here is no second one. What is about where a value came from
//! (messages, provenance) asks `Settings` itself.

use std::path::PathBuf;
use std::time::Duration;

use gimbal_engine::{Edge, Micros, OutputFormatter, Parser, Policy, SampleParams};
use gimbal_hal::{Dtype, KvDtype, Profile, Quantize};
use gimbal_http::{HttpSettings, WebRules};
use gimbal_onnx::KernelChoice;
use gimbal_settings::Settings;
use gimbal_text::{ReasoningFormat, ToolFormat, random};

use crate::folder::user_folders;

/// Guesses of a step for one sequence, at most: seldom are more of them right.
const DRAFTS_MAX: u32 = 16;

/// What holds for the process, whichever models it serves.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// The platform that was asked for; `None` takes the first that fits.
    pub(crate) backend: Option<String>,
    /// Threads that compute; `None` takes all the process may use.
    pub(crate) threads: Option<u32>,
    /// Which kernels of the CPU compute.
    pub(crate) kernels: KernelChoice,
    /// Where libonnxruntime is, if that was said.
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Where libcuda is, if that was said.
    pub(crate) libcuda: Option<PathBuf>,
    /// Where libnrt is, if that was said.
    pub(crate) libnrt: Option<PathBuf>,
    /// Devices that may be used, by id or number; empty takes all.
    pub(crate) devices: Vec<String>,
    /// Whether the CPU computes where an accelerator cannot be used.
    pub(crate) fallback: Fallback,
    /// Which devices are held by processes of their own.
    pub(crate) worker: Workers,
    /// A file of simulated devices.
    pub(crate) simulation: Option<PathBuf>,
    /// Folder for packed weights; `None` where there is none or none is wanted.
    pub(crate) packed_cache: Option<PathBuf>,
    /// How long a drain may take.
    pub(crate) drain: Duration,
    /// Whether the process lives on after a boot that failed, to say so.
    pub(crate) stays: bool,
    /// The edge, but for what the process's own limits and its address decide.
    pub(crate) http: HttpSettings,
}

impl Process {
    /// Reads what concerns the process.
    pub(crate) fn of(settings: &Settings) -> Self {
        let path = |key: &str| settings.text(key).map(PathBuf::from);
        let threads = settings.integer("threads").map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Self {
            backend: settings.text("backend").filter(|name| *name != "auto").map(str::to_owned),
            threads,
            kernels: kernels(settings),
            onnxruntime: path("onnxruntime"),
            libcuda: path("libcuda"),
            libnrt: path("libnrt"),
            devices: list(settings, "devices"),
            fallback: match settings.text("devices_fallback") {
                Some("allow") => Fallback::Allow,
                Some("refuse") => Fallback::Refuse,
                _ => Fallback::Auto,
            },
            worker: match settings.text("worker") {
                Some("on") => Workers::All,
                Some("off") => Workers::None,
                _ => Workers::Accelerators,
            },
            simulation: path("simulation"),
            packed_cache: packed_cache(settings),
            drain: settings.seconds("drain_timeout_s"),
            stays: settings.text("on_boot_failure") == Some("stay"),
            http: http(settings),
        }
    }
}

/// Whether the CPU computes where an accelerator is there and cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Not under SageMaker.
    Auto,
    /// It does, and says so.
    Allow,
    /// The boot ends with the reason.
    Refuse,
}

/// Which devices are held by processes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// Those that are not the host's own processor.
    Accelerators,
    /// All.
    All,
    /// None: a driver that crashes takes the server with it.
    None,
}

/// Words with commas between them.
fn list(settings: &Settings, key: &str) -> Vec<String> {
    let words = settings.text(key).unwrap_or_default().split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn kernels(settings: &Settings) -> KernelChoice {
    let set = settings.text("kernels");
    let named = KernelChoice::ALL.into_iter().find(|(name, _)| Some(*name) == set);
    named.map(|(_, choice)| choice).unwrap_or_default()
}

/// What holds for one model.
#[derive(Clone, Debug)]
pub(crate) struct ModelConfig {
    /// The name clients use; `None` takes the file's.
    pub(crate) name: Option<String>,
    /// What is asked of a device.
    pub(crate) profile: Profile,
    /// Share of an accelerator's memory that it may take.
    pub(crate) memory_share: f64,
    /// What is asked of the scheduler.
    pub(crate) policy: Policy,
    /// Continuations of one request, at most.
    pub(crate) choices_max: u16,
    /// A step that takes longer makes the model unhealthy.
    pub(crate) watchdog: Duration,
    /// The file of its chat template; `None` takes the model's own.
    pub(crate) chat_template: Option<PathBuf>,
    /// How requests are taken and answered.
    pub(crate) edge: Edge,
}

impl ModelConfig {
    /// Reads what concerns a model.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            name: settings.text("served_model_name").map(str::to_owned),
            profile: profile(settings),
            memory_share: settings.number("device_memory_share").unwrap_or(1.0),
            policy: policy(settings),
            choices_max: u16::try_from(settings.whole("max_choices")).unwrap_or(u16::MAX),
            watchdog: settings.seconds("watchdog_timeout_s"),
            chat_template: settings.text("chat_template").map(PathBuf::from),
            edge: edge(settings),
        }
    }
}

fn profile(settings: &Settings) -> Profile {
    let small = |key: &str| settings.integer(key).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let few = |key: &str| settings.integer(key).map(|n| u16::try_from(n).unwrap_or(u16::MAX));
    let dtype = settings.text("kv_cache_dtype");
    let dtype = KvDtype::ALL.into_iter().find(|(name, _)| Some(*name) == dtype);
    Profile {
        sequences_max: settings.small("max_rolling_batch_size"),
        rows_max: settings.small("max_rolling_batch_prefill_tokens"),
        context_tokens_max: small("max_model_len"),
        kv_bytes: settings.integer("kv_cache_bytes"),
        kv_dtype: dtype.map(|(_, dtype)| dtype).unwrap_or_default(),
        dtype: settings.text("dtype").and_then(Dtype::by_name),
        quantize: match settings.text("quantize") {
            Some("q8") => Some(Quantize::Q8),
            Some("q4") => Some(Quantize::Q4),
            _ => None,
        },
        replicas: few("replicas"),
        ranks: few("tensor_parallel_degree"),
    }
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        max_rolling_batch_size: settings.small("max_rolling_batch_size"),
        job_queue_size: settings.small("job_queue_size"),
        step_tokens_max: settings.small("max_rolling_batch_prefill_tokens"),
        step_time_max: settings.integer("step_time_max_ms").map(|ms| Micros(ms * 1000)),
        prefix_cache: settings.flag("enable_prefix_caching"),
        drafts_max: if settings.text("speculative") == Some("ngram") { DRAFTS_MAX } else { 0 },
        turn_tokens: settings.small("fair_turn_tokens"),
        prefix_secret: [random(), random()],
    }
}

fn http(settings: &Settings) -> HttpSettings {
    let list = |key: &str| WebRules::list(settings.text(key).unwrap_or_default());
    HttpSettings {
        body_bytes_max: usize::try_from(settings.whole("max_request_size")).unwrap_or(usize::MAX),
        responses_kept: settings.small("responses_kept") as usize,
        write_timeout: settings.seconds("write_timeout_s"),
        vllm_metrics: settings.text("metrics_alias") == Some("vllm"),
        dashboard: settings.flag("dashboard"),
        is_name_strict: settings.flag("served_model_name_strict"),
        web: WebRules {
            origins: list("cors_origins"),
            hosts: list("allowed_hosts"),
            ..WebRules::default()
        },
        ..HttpSettings::default()
    }
}

fn edge(settings: &Settings) -> Edge {
    Edge {
        sampling: sampling(settings),
        output_formatter: match settings.text("output_formatter") {
            Some("json") => OutputFormatter::Json,
            Some("jsonlines") => OutputFormatter::JsonLines,
            Some("sse") => OutputFormatter::Sse,
            _ => OutputFormatter::Auto,
        },
        tgi_compat: settings.flag("tgi_compat"),
        tool_calls: parser(settings.text("tool_call_parser"), ToolFormat::named),
        reasoning: parser(settings.text("reasoning_parser"), ReasoningFormat::named),
        deadline: settings.seconds("invocation_timeout_s"),
        ..Edge::default()
    }
}

/// How answers are read, by the name of a setting.
fn parser<T>(name: Option<&str>, named: impl Fn(&str) -> Option<T>) -> Parser<T> {
    match name {
        Some("none") => Parser::Off,
        name => name.and_then(named).map_or(Parser::Auto, Parser::As),
    }
}

/// What requests that sample get where they say nothing.
fn sampling(settings: &Settings) -> SampleParams {
    #[expect(clippy::cast_possible_truncation, reason = "parameters are f32 everywhere")]
    let number = |key: &str| settings.number(key).map_or(1.0, |n| n as f32);
    SampleParams {
        temperature: number("default_temperature"),
        top_p: number("default_top_p"),
        top_k: settings.small("default_top_k"),
        repetition_penalty: number("default_repetition_penalty"),
        ..SampleParams::default()
    }
}

fn packed_cache(settings: &Settings) -> Option<PathBuf> {
    match settings.text("packed_cache") {
        Some("off") => None,
        Some(folder) => Some(folder.into()),
        None => user_folders().next().map(|folder| folder.join("gimbal/packed")),
    }
}

#[cfg(test)]
mod tests {
    use gimbal_settings::{Facts, Given, Kind, Setting, TABLE};

    use super::*;

    /// What is read elsewhere, where it is also told where it came from.
    const ELSEWHERE: [&str; 8] = [
        "model",
        "host",
        "port",
        "log_level",
        "log_format",
        // Keys are in no debug form either.
        "api_key",
        "api_keys_file",
        // Of `gimbal compile`.
        "neuronx_cc",
    ];

    fn config(flags: &[(String, String)]) -> String {
        let given = Given { flags: flags.to_vec(), ..Given::default() };
        let settings = Settings::resolve(&Facts::default(), &given).expect("all legal");
        let mut model = ModelConfig::of(&settings);
        model.policy.prefix_secret = [0; 2];
        format!("{:?} {model:?}", Process::of(&settings))
    }

    /// Values that may be said, of which at least one is not the default.
    fn values(setting: &Setting) -> Vec<String> {
        match &setting.kind {
            Kind::Flag => vec!["true".to_owned(), "false".to_owned()],
            Kind::Choice(choices) => choices.iter().map(|c| (*c).to_owned()).collect(),
            Kind::Integer { min, .. } => vec![(min + 1).to_string(), (min + 2).to_string()],
            Kind::Number { min, max } => vec![((min + max) / 2.0).to_string(), min.to_string()],
            Kind::Text | Kind::Secret => vec!["/a".to_owned(), "/b".to_owned()],
        }
    }

    /// The names that may be set are those that have a meaning: another one would be `auto` unseen.
    #[test]
    fn every_name_of_a_parser_is_known() {
        let names = |key: &str| {
            let setting = TABLE.iter().find(|setting| setting.key == key).expect("a setting");
            let mut names = values(setting);
            names.retain(|name| name != "auto" && name != "none");
            names
        };
        let calls: Vec<String> = ToolFormat::names().map(str::to_owned).collect();
        assert_eq!(names("tool_call_parser"), calls);
        for name in names("reasoning_parser") {
            assert!(ReasoningFormat::named(&name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_setting_changes_something() {
        for setting in TABLE.iter().filter(|setting| !ELSEWHERE.contains(&setting.key)) {
            let name = setting.key.replace('_', "-");
            let said = values(setting).into_iter().map(|value| config(&[(name.clone(), value)]));
            let mut said: Vec<String> = said.collect();
            let all = said.len();
            said.sort();
            said.dedup();
            // Of these several names mean the same.
            let has_synonyms = ["backend", "dtype", "tool_call_parser", "reasoning_parser"];
            let least = if has_synonyms.contains(&setting.key) { 2 } else { all };
            assert!(said.len() >= least, "{}", setting.key);
        }
    }
}
