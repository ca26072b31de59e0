//! Names of other servers that mean nothing here, and why.
//!
//! What has a meaning stands in `table.rs` beside its setting. Names are those of LMI's
//! `serving.properties`; an `OPTION_X` of the environment is `option.x`, a `SERVING_X` is `x`.

/// Prefixes of variables that are settings of somebody else.
pub(crate) const PREFIXES: [&str; 3] = ["OPTION_", "SERVING_", "SM_VLLM_"];

/// What is said of a name that no list knows.
pub(crate) const UNKNOWN: &str = "no setting of ours";

/// Names and why they have no effect. **Source**: DJL-Serving, `serving/docs/lmi` and
/// `serving/docs/configurations_model.md`; text-generation-inference, `docs/reference/launcher.md`.
const REASONS: &[(&str, &str)] = &[
    ("engine", "one engine serves every model"),
    ("option.entrypoint", "no Python runs here"),
    ("option.rolling_batch", "the rolling batch is always on"),
    ("option.async_mode", "the rolling batch is always on"),
    ("option.trust_remote_code", "no code of a model is ever run"),
    ("option.tensor_parallel_size", "ranks are planned from the model and the devices"),
    ("option.pipeline_parallel_size", "a model is not cut over machines"),
    ("option.pipeline_parallel_degree", "a model is not cut over machines"),
    ("option.chat_template", "chat_template names a template; the model's own is used"),
    ("option.quantization", "weights keep the exact values of their file"),
    ("option.quantize", "weights keep the exact values of their file"),
    ("option.speculative_draft_model", "no draft model is used; speculative=ngram needs none"),
    ("option.draft_model_id", "no draft model is used; speculative=ngram needs none"),
    ("option.spec_length", "speculative=ngram guesses as many tokens as are worth it"),
    ("option.speculative_config", "speculative=ngram guesses without a draft model"),
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
    let option = lower.strip_prefix("option_").or_else(|| lower.strip_prefix("sm_vllm_"));
    match (option, lower.strip_prefix("serving_")) {
        (Some(name), _) => format!("option.{name}"),
        (None, Some(name)) => name.to_owned(),
        (None, None) => lower,
    }
}

/// Variables that Kubernetes makes for each service, and Docker for a link, where its name begins with
/// `gimbal`: `GIMBAL_SERVICE_HOST`, `GIMBAL_LLM_SERVICE_PORT_HTTP`, `GIMBAL_PORT=tcp://10.0.0.1:8080`,
/// `GIMBAL_LLM_PORT_8080_TCP_ADDR`. **Source**: Kubernetes, "Discovering services", environment
/// variables; `pkg/kubelet/envvars`.
pub(crate) fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix("GIMBAL").filter(|rest| rest.starts_with('_')) else {
        return false;
    };
    let is_link = rest.ends_with("_PORT") && value.contains("://");
    rest.ends_with("_SERVICE_HOST") || is_service_port(rest) || is_link || is_linked_port(rest)
}

/// `…_SERVICE_PORT` and `…_SERVICE_PORT_NAME`.
fn is_service_port(rest: &str) -> bool {
    let after = |(at, found): (usize, &str)| &rest[at + found.len()..];
    let mut all = rest.match_indices("_SERVICE_PORT").map(after);
    all.any(|after| after.is_empty() || after.starts_with('_'))
}

/// `…_PORT_8080_TCP` and what follows it.
fn is_linked_port(rest: &str) -> bool {
    rest.match_indices("_PORT_").any(|(at, found)| {
        let mut words = rest[at + found.len()..].split('_');
        let number = words.next().is_some_and(|n| n.parse::<u16>().is_ok());
        let protocol = words.next().is_some_and(|p| ["TCP", "UDP", "SCTP"].contains(&p));
        let ends = match words.next() {
            None => true,
            Some(what) => ["PROTO", "PORT", "ADDR"].contains(&what) && words.next().is_none(),
        };
        number && protocol && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_every_service_are_known_and_our_own_variables_are_not_links() {
        let links = [
            ("GIMBAL_SERVICE_HOST", "10.0.0.1"),
            ("GIMBAL_LLM_SERVICE_HOST", "10.0.0.1"),
            ("GIMBAL_SERVICE_PORT", "80"),
            ("GIMBAL_LLM_SERVICE_PORT_HTTP_METRICS", "80"),
            ("GIMBAL_PORT", "tcp://10.0.0.1:80"),
            ("GIMBAL_A_B_PORT", "udp://10.0.0.1:80"),
            ("GIMBAL_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("GIMBAL_LLM_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("GIMBAL_LLM_PORT_53_UDP_PROTO", "udp"),
            ("GIMBAL_PORT_9_PORT_9_SCTP_PORT", "9"),
        ];
        for (name, value) in links {
            assert!(is_service_link(name, value), "{name}");
        }
        let others = [
            ("GIMBAL_PORT", "8080"),
            ("GIMBAL_HOST", "10.0.0.1"),
            ("GIMBAL_SERVICE_PORTS", "80"),
            ("GIMBAL_PORT_8080", "1"),
            ("GIMBAL_PORT_80_TCP_X", "1"),
            ("GIMBAL_PORT_x_TCP", "1"),
            ("GIMBALS_SERVICE_HOST", "10.0.0.1"),
            ("OTHER_PORT", "tcp://10.0.0.1:80"),
        ];
        for (name, value) in others {
            assert!(!is_service_link(name, value), "{name}");
        }
    }
}
