//! The settings: key, scope, documentation, unit, kind, names in the environment, default with its reason.
//!
//! What a setting is stands in `setting.rs`, resolution in `resolve.rs`. A key that LMI has keeps LMI's
//! name.

use crate::setting::{Kind, Names, Scope, Setting, Value};

/// Every setting.
pub static TABLE: &[Setting] = &[
    Setting {
        key: "model",
        scope: Scope::Process(Names::Path),
        doc: "The model: a GGUF file, or a folder with one.",
        unit: "",
        kind: Kind::Text,
        environment: &["OPTION_MODEL_ID", "HF_MODEL_ID", "SM_VLLM_MODEL", "SM_MODEL_DIR"],
        default: |_| (Value::Text("/opt/ml/model".to_owned()), "where SageMaker puts the model"),
    },
    Setting {
        key: "host",
        scope: Scope::Process(Names::Address),
        doc: "Address to listen on.",
        unit: "",
        kind: Kind::Text,
        environment: &["SM_VLLM_HOST"],
        default: |facts| {
            if facts.in_container {
                (Value::Text("0.0.0.0".to_owned()), "in a container or under SageMaker")
            } else {
                (Value::Text("127.0.0.1".to_owned()), "not in a container: this machine only")
            }
        },
    },
    Setting {
        key: "port",
        scope: Scope::Process(Names::Address),
        doc: "TCP port to listen on; 0 takes a free one.",
        unit: "",
        kind: Kind::Integer { min: 0, max: 65_535 },
        environment: &["SAGEMAKER_BIND_TO_PORT", "SM_VLLM_PORT"],
        default: |_| (Value::Integer(8080), "SageMaker's port"),
    },
    Setting {
        key: "served_model_name",
        scope: Scope::Model(Names::Nothing),
        doc: "Name of the model in answers and metrics.",
        unit: "",
        kind: Kind::Text,
        environment: &["SM_VLLM_SERVED_MODEL_NAME", "OPTION_SERVED_MODEL_NAME"],
        default: |_| (Value::Auto, "the model file's stem"),
    },
    Setting {
        key: "backend",
        scope: Scope::Process(Names::Nothing),
        doc: "What computes: the best found, the CPU, or a simulated device that prints SIMULATED.",
        unit: "",
        kind: Kind::Choice(&["auto", "onnx", "sim"]),
        environment: &[],
        default: |_| (Value::Text("auto".to_owned()), "the best device that fits the model"),
    },
    Setting {
        key: "onnxruntime",
        scope: Scope::Process(Names::Library),
        doc: "Path of libonnxruntime.so.",
        unit: "",
        kind: Kind::Text,
        environment: &[],
        default: |_| {
            (Value::Auto, "beside the binary, appended to it, else the loader's search path")
        },
    },
    Setting {
        key: "quantize",
        scope: Scope::Model(Names::Nothing),
        doc: "What float weights are rounded to at load; quantised ones stay as they are.",
        unit: "",
        kind: Kind::Choice(&["none", "q8", "q4"]),
        environment: &[],
        default: |_| (Value::Text("none".to_owned()), "weights are served as they were made"),
    },
    Setting {
        key: "packed_cache",
        scope: Scope::Process(Names::Path),
        doc: "Folder for weights in the kernels' layout, mapped at the next start (kernels of AVX2 and of AVX-512 have a file each); off packs them in memory.",
        unit: "",
        kind: Kind::Text,
        environment: &[],
        default: |_| {
            (Value::Auto, "gimbal/packed in XDG_CACHE_HOME or ~/.cache, as far as writable")
        },
    },
    Setting {
        key: "chat_template",
        scope: Scope::Model(Names::Path),
        doc: "Path of a Jinja file that takes the place of the model's chat template.",
        unit: "",
        kind: Kind::Text,
        // None of another server: an inherited path of another image must not stop a boot.
        environment: &[],
        default: |_| (Value::Auto, "the model's own"),
    },
    Setting {
        key: "threads",
        scope: Scope::Process(Names::Nothing),
        doc: "Threads that compute, shared by all models.",
        unit: "",
        kind: Kind::Integer { min: 1, max: 1024 },
        environment: &[],
        default: |_| (Value::Auto, "all cores that affinity and cgroup leave"),
    },
    Setting {
        key: "kernels",
        scope: Scope::Process(Names::Nothing),
        doc: "Which kernels of the CPU compute; all give the same bits. One that the CPU lacks is refused.",
        unit: "",
        kind: Kind::Choice(&["auto", "scalar", "avx2", "avx512"]),
        environment: &[],
        default: |_| (Value::Text("auto".to_owned()), "the fastest that the CPU has"),
    },
    Setting {
        key: "max_rolling_batch_size",
        scope: Scope::Model(Names::Nothing),
        doc: "Sequences that run together.",
        unit: "sequences",
        kind: Kind::Integer { min: 1, max: 4096 },
        environment: &[
            "OPTION_MAX_ROLLING_BATCH_SIZE",
            "OPTION_MAX_NUM_SEQS",
            "SM_VLLM_MAX_NUM_SEQS",
            "MAX_BATCH_SIZE",
        ],
        default: |_| (Value::Integer(32), "LMI's default"),
    },
    Setting {
        key: "job_queue_size",
        scope: Scope::Model(Names::Nothing),
        doc: "Requests that wait; one more is refused.",
        unit: "requests",
        kind: Kind::Integer { min: 1, max: 1 << 20 },
        environment: &[
            "SERVING_JOB_QUEUE_SIZE",
            "OPTION_JOB_QUEUE_SIZE",
            "MAX_CONCURRENT_REQUESTS",
        ],
        default: |_| (Value::Integer(1000), "LMI's default"),
    },
    Setting {
        key: "max_model_len",
        scope: Scope::Model(Names::Nothing),
        doc: "Longest sequence, prompt and output together.",
        unit: "tokens",
        kind: Kind::Integer { min: 2, max: 1 << 24 },
        environment: &["OPTION_MAX_MODEL_LEN", "SM_VLLM_MAX_MODEL_LEN", "MAX_TOTAL_TOKENS"],
        default: |_| (Value::Auto, "the model's own context"),
    },
    Setting {
        key: "max_rolling_batch_prefill_tokens",
        scope: Scope::Model(Names::Nothing),
        doc: "Rows of one step; running sequences come first, prompts fill the rest.",
        unit: "tokens",
        kind: Kind::Integer { min: 1, max: 65_536 },
        environment: &[
            "OPTION_MAX_ROLLING_BATCH_PREFILL_TOKENS",
            "OPTION_MAX_NUM_BATCHED_TOKENS",
            "SM_VLLM_MAX_NUM_BATCHED_TOKENS",
            "MAX_BATCH_PREFILL_TOKENS",
        ],
        default: |_| {
            (Value::Integer(256), "larger steps gain little on a CPU and delay running sequences")
        },
    },
    Setting {
        key: "step_time_max_ms",
        scope: Scope::Model(Names::Nothing),
        doc: "Prompts beside running sequences are cut so that a step takes about so long.",
        unit: "milliseconds",
        kind: Kind::Integer { min: 1, max: 60_000 },
        environment: &[],
        default: |_| (Value::Auto, "no bound but max_rolling_batch_prefill_tokens"),
    },
    Setting {
        key: "kv_cache_bytes",
        scope: Scope::Model(Names::Nothing),
        doc: "Memory for keys and values.",
        unit: "bytes",
        kind: Kind::Integer { min: 1, max: u64::MAX },
        environment: &[],
        default: |_| (Value::Auto, "half of what is left, at most all sequences at full length"),
    },
    Setting {
        key: "kv_cache_dtype",
        scope: Scope::Model(Names::Nothing),
        doc: "What keys and values are kept as: f16, or int8 with a scale for each token and head.",
        unit: "",
        kind: Kind::Choice(&["f16", "int8"]),
        // None of another server: their names of types are others, and must not stop a boot.
        environment: &[],
        default: |_| {
            (Value::Text("f16".to_owned()), "int8 takes half the memory and loses a little")
        },
    },
    Setting {
        key: "enable_prefix_caching",
        scope: Scope::Model(Names::Nothing),
        doc: "Keep keys and values of finished prompts for requests that begin alike.",
        unit: "",
        kind: Kind::Flag,
        environment: &["OPTION_ENABLE_PREFIX_CACHING", "SM_VLLM_ENABLE_PREFIX_CACHING"],
        default: |_| (Value::Flag(true), "equal prefixes are computed once"),
    },
    Setting {
        key: "max_request_size",
        scope: Scope::Process(Names::Nothing),
        doc: "Largest request body.",
        unit: "bytes",
        kind: Kind::Integer { min: 1024, max: 1 << 30 },
        environment: &["SERVING_MAX_REQUEST_SIZE", "SAGEMAKER_MAX_REQUEST_SIZE"],
        default: |_| (Value::Integer(25_000_000), "SageMaker's limit for real-time requests"),
    },
    Setting {
        key: "invocation_timeout_s",
        scope: Scope::Model(Names::Nothing),
        doc: "Longest time for an answer on /invocations.",
        unit: "seconds",
        kind: Kind::Integer { min: 1, max: 3600 },
        environment: &[
            "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS",
            "SAGEMAKER_MODEL_SERVER_TIMEOUT",
            "OPTION_PREDICT_TIMEOUT",
        ],
        default: |_| (Value::Integer(60), "SageMaker's limit for real-time requests"),
    },
    Setting {
        key: "write_timeout_s",
        scope: Scope::Process(Names::Nothing),
        doc: "How long a client may leave its socket full before its request is cancelled.",
        unit: "seconds",
        kind: Kind::Integer { min: 1, max: 3600 },
        environment: &[],
        default: |_| (Value::Integer(30), "a stalled client must not hold a slot for ever"),
    },
    Setting {
        key: "watchdog_timeout_s",
        scope: Scope::Process(Names::Nothing),
        doc: "Without a finished step for so long while work waits, /ping answers 503.",
        unit: "seconds",
        kind: Kind::Integer { min: 1, max: 3600 },
        environment: &[],
        default: |_| (Value::Integer(30), "far above any step"),
    },
    Setting {
        key: "drain_timeout_s",
        scope: Scope::Process(Names::Nothing),
        doc: "Time running requests get after SIGTERM.",
        unit: "seconds",
        kind: Kind::Integer { min: 0, max: 3600 },
        environment: &[],
        default: |_| (Value::Integer(25), "SageMaker kills 30 s after SIGTERM"),
    },
    Setting {
        key: "output_formatter",
        scope: Scope::Model(Names::Nothing),
        doc: "What LMI's schema answers in where a request does not say.",
        unit: "",
        kind: Kind::Choice(&["auto", "json", "jsonlines", "sse"]),
        environment: &["OPTION_OUTPUT_FORMATTER"],
        default: |_| (Value::Text("auto".to_owned()), "JSON; JSON lines where stream is true"),
    },
    Setting {
        key: "tgi_compat",
        scope: Scope::Model(Names::Nothing),
        doc: "LMI's schema answers as TGI does: one answer is a list of one, tokens say whether they \
              are special, streams are server-sent events, bad requests are 422.",
        unit: "",
        kind: Kind::Flag,
        environment: &["OPTION_TGI_COMPAT"],
        default: |_| (Value::Flag(false), "LMI's default"),
    },
    Setting {
        key: "default_temperature",
        scope: Scope::Model(Names::Nothing),
        doc: "Temperature of requests that sample and name none.",
        unit: "",
        kind: Kind::Number { min: 0.0, max: 100.0 },
        environment: &[],
        default: |_| (Value::Number(1.0), "OpenAI's and LMI's default"),
    },
    Setting {
        key: "default_top_p",
        scope: Scope::Model(Names::Nothing),
        doc: "Share of probability kept for requests that sample and name none.",
        unit: "",
        kind: Kind::Number { min: 1e-6, max: 1.0 },
        environment: &[],
        default: |_| (Value::Number(1.0), "OpenAI's and LMI's default: all tokens"),
    },
    Setting {
        key: "default_top_k",
        scope: Scope::Model(Names::Nothing),
        doc: "Tokens kept for requests that sample and name none; 0 keeps all.",
        unit: "tokens",
        kind: Kind::Integer { min: 0, max: u32::MAX as u64 },
        environment: &[],
        default: |_| (Value::Integer(0), "LMI's default: all tokens"),
    },
    Setting {
        key: "default_repetition_penalty",
        scope: Scope::Model(Names::Nothing),
        doc: "Repetition penalty of requests that sample and name none.",
        unit: "",
        kind: Kind::Number { min: 1e-3, max: 1e3 },
        environment: &[],
        default: |_| (Value::Number(1.0), "LMI's default: none"),
    },
    Setting {
        key: "metrics_alias",
        scope: Scope::Process(Names::Nothing),
        doc: "Tell metrics by another server's names as well.",
        unit: "",
        kind: Kind::Choice(&["none", "vllm"]),
        environment: &[],
        default: |_| (Value::Text("none".to_owned()), "one name for each thing"),
    },
    Setting {
        key: "fair_turn_tokens",
        scope: Scope::Process(Names::Nothing),
        doc: "Tokens after which a sequence gives its seat to one that waits, where seats are shared \
              equally; 0 is never.",
        unit: "tokens",
        kind: Kind::Integer { min: 0, max: 1_000_000 },
        environment: &[],
        default: |_| (Value::Integer(128), "a few seconds on a CPU, and seldom within an answer"),
    },
    Setting {
        key: "max_choices",
        scope: Scope::Model(Names::Nothing),
        doc: "Answers to one prompt that a request may ask for (n).",
        unit: "",
        kind: Kind::Integer { min: 1, max: 128 },
        environment: &["VLLM_MAX_N_SEQUENCES"],
        default: |_| (Value::Integer(128), "OpenAI's limit"),
    },
    Setting {
        key: "served_model_name_strict",
        scope: Scope::Process(Names::Access),
        doc: "Refuse requests on /v1 for other model names, though there is one model only.",
        unit: "",
        kind: Kind::Flag,
        environment: &[],
        default: |_| (Value::Flag(true), "OpenAI and vLLM do; /invocations takes any name"),
    },
    Setting {
        key: "cors_origins",
        scope: Scope::Process(Names::Access),
        doc: "Origins of web pages that may use the API, separated by commas; * is all.",
        unit: "",
        kind: Kind::Text,
        environment: &[],
        default: |_| (Value::Text("none".to_owned()), "no page but the dashboard asks for it"),
    },
    Setting {
        key: "allowed_hosts",
        scope: Scope::Process(Names::Access),
        doc: "Names by which clients may call this server, separated by commas, where it listens for \
              this machine only; * is all.",
        unit: "",
        kind: Kind::Text,
        environment: &[],
        default: |_| {
            (Value::Text("none".to_owned()), "localhost, addresses and this machine's name are")
        },
    },
    Setting {
        key: "dashboard",
        scope: Scope::Process(Names::Access),
        doc: "Serve a page for people at / and what it shows at /status.",
        unit: "",
        kind: Kind::Flag,
        environment: &[],
        default: |_| (Value::Flag(true), "it shows no prompt and changes nothing"),
    },
    Setting {
        key: "log_level",
        scope: Scope::Process(Names::Log),
        doc: "Least level that is logged.",
        unit: "",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        environment: &[],
        default: |_| (Value::Text("info".to_owned()), "life-cycle changes"),
    },
    Setting {
        key: "log_format",
        scope: Scope::Process(Names::Log),
        doc: "Form of log lines on stderr.",
        unit: "",
        kind: Kind::Choice(&["auto", "text", "json"]),
        environment: &[],
        default: |_| (Value::Text("auto".to_owned()), "text on a terminal, JSON otherwise"),
    },
];

/// The setting of that name; `-` counts as `_`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    let name = name.replace('-', "_");
    TABLE.iter().find(|s| s.key == name)
}
