//! Names of other servers that mean nothing here, and why.
//!
//! What has a meaning stands in `table.rs` beside its setting. Names are those of LMI's
//! `serving.properties`; an `OPTION_X` of the environment is `option.x`, a `SERVING_X` is `x`.

/// Prefixes of variables that are settings of somebody else.
pub(crate) const PREFIXES: [&str; 3] = ["OPTION_", "SERVING_", "SM_VLLM_"];

/// What is said of a name that no list knows.
const UNKNOWN: &str = "no setting of ours";

/// Names and why they have no effect. **Source**: DJL-Serving, `serving/docs/lmi` and
/// `serving/docs/configurations_model.md`; text-generation-inference, `docs/reference/launcher.md`.
const REASONS: &[(&str, &str)] = &[
    ("engine", "one engine serves every model"),
    ("option.entrypoint", "no Python runs here"),
    ("option.rolling_batch", "the rolling batch is always on"),
    ("option.async_mode", "the rolling batch is always on"),
    ("option.trust_remote_code", "no code of a model is ever run"),
    ("option.tensor_parallel_degree", "ranks are planned from the model and the devices"),
    ("option.pipeline_parallel_degree", "a model is not cut over machines"),
    ("option.dtype", "weights keep the exact values of their file"),
    ("option.quantize", "weights keep the exact values of their file"),
    ("option.gpu_memory_utilization", "memory is planned in bytes; see kv_cache_bytes"),
    ("option.enable_chunked_prefill", "prompts are always computed in chunks"),
    ("option.device_map", "devices are planned; see gimbal plan"),
    ("option.mpi_mode", "no MPI is used"),
    ("option.parallel_loading", "one process serves a model"),
    ("option.enable_streaming", "a request says whether it is streamed"),
    ("option.model_loading_timeout", "loading takes as long as it takes; /ping tells the phase"),
    ("batch_size", "requests are batched continuously; see max_rolling_batch_size"),
    ("max_batch_delay", "requests are batched continuously, without a delay"),
    ("minworkers", "one process serves a model"),
    ("maxworkers", "one process serves a model"),
    ("max_idle_time", "a model stays loaded"),
    ("load_models", "the model is an argument, or the setting model"),
    ("model_store", "the model is an argument, or the setting model"),
];

/// Why a name has no effect.
pub(crate) fn why(property: &str) -> &'static str {
    let property = property.to_lowercase();
    REASONS.iter().find(|(name, _)| *name == property).map_or(UNKNOWN, |(_, why)| why)
}

/// The name in `serving.properties` of a variable.
pub(crate) fn property(variable: &str) -> String {
    let lower = variable.to_lowercase();
    match (lower.strip_prefix("option_"), lower.strip_prefix("serving_")) {
        (Some(name), _) => format!("option.{name}"),
        (None, Some(name)) => name.to_owned(),
        (None, None) => lower,
    }
}

/// Variables that Kubernetes makes for a service named `gimbal`: `GIMBAL_SERVICE_HOST`,
/// `GIMBAL_PORT=tcp://10.0.0.1:8080`, `GIMBAL_PORT_8080_TCP_ADDR` and the like. **Source**:
/// Kubernetes, "Discovering services", environment variables.
pub(crate) fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix("GIMBAL_") else { return false };
    let is_port =
        rest.strip_prefix("PORT_").is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    let is_link = rest == "PORT" && value.contains("://");
    rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT") || is_port || is_link
}
