//! The fields chat and completions share, with OpenAI's defaults and vLLM's additions.
//!
//! Next: `chat.rs`.

use std::time::{Duration, SystemTime};

use gimbal_engine::{Edge, GenerateRequest, Prompt, Service};
use serde_json::{Value, json};

use crate::access::random_hex;
use crate::call::Call;
use crate::fault::{Door, Fault};
use crate::fields::Fields;
use crate::names::Scope;
use crate::sampling::Narrowing;
use crate::typed::{STOP_TOKENS_MAX, STOPS_MAX};

/// Alternatives a client may ask for.
const TOP_LOGPROBS_MAX: u64 = 20;

/// How the answer is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) stream: bool,
    pub(super) told: Told,
}

/// When a stream tells what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Never,
    /// In a last chunk; all others have the member without a value.
    AtEnd,
    /// So far, on every chunk, and in a last one.
    Always,
}

/// What all objects of an answer repeat.
#[derive(Clone, Debug)]
pub(super) struct Header {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
}

impl Header {
    pub(super) fn new(call: &Call, prefix: &str, model: &Service) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            id: format!("{prefix}-{}", random_hex()),
            created: now.unwrap_or_default().as_secs(),
            model: model.name().to_owned(),
            fingerprint: call.app.fingerprint(model),
        }
    }

    /// An object with these choices.
    pub(super) fn object(&self, kind: &str, choices: &Value) -> Value {
        json!({
            "id": self.id, "object": kind, "created": self.created, "model": self.model,
            "system_fingerprint": self.fingerprint, "choices": choices,
        })
    }
}

/// How the answer is sent.
pub(super) fn delivery(fields: &mut Fields) -> Result<Delivery, Fault> {
    let stream = fields.flag("stream")?.unwrap_or(false);
    if !stream && fields.has("stream_options") {
        return Err(Fault::field("stream_options", "needs stream: true"));
    }
    let mut options = fields.nested("stream_options", "stream_options.")?;
    options.refuse_unsupported(Scope::StreamOptions)?;
    let include = options.flag("include_usage")?.unwrap_or(false);
    let always = options.flag("continuous_usage_stats")?.unwrap_or(false);
    // As vLLM: without the first the second asks for nothing.
    let told = match (include, always) {
        (false, _) => Told::Never,
        (true, false) => Told::AtEnd,
        (true, true) => Told::Always,
    };
    Ok(Delivery { stream, told })
}

/// Everything but prompt, length and logprobs.
pub(super) fn request(
    call: &Call,
    edge: &Edge,
    fields: &mut Fields,
) -> Result<GenerateRequest, Fault> {
    let defaults = &edge.sampling;
    // Who asks changes nothing; and no tools are called, so none are called in parallel.
    fields.text("user")?;
    fields.flag("parallel_tool_calls")?;
    let temperature = fields.number("temperature")?.unwrap_or(defaults.temperature);
    let params = Narrowing::take(fields)?.params(fields, temperature, defaults)?;
    Ok(GenerateRequest {
        params,
        seed: fields.integer("seed")?.map(i64::cast_unsigned),
        min_new_tokens: fields.count32("min_tokens")?.unwrap_or(0),
        choices: fields.count16("n")?.unwrap_or(1),
        stop: fields.texts::<STOPS_MAX>("stop")?.unwrap_or_default().into(),
        include_stop: fields.flag("include_stop_str_in_output")?.unwrap_or(false),
        stop_token_ids: fields
            .tokens::<STOP_TOKENS_MAX>("stop_token_ids")?
            .unwrap_or_default()
            .into(),
        ignore_eos: fields.flag("ignore_eos")?.unwrap_or(false),
        skip_special_tokens: fields.flag("skip_special_tokens")?.unwrap_or(true),
        client: call.client(),
        salt: call.salt(fields)?,
        truncate: fields.count32("truncate_prompt_tokens")?,
        ..GenerateRequest::new(Prompt::Text(String::new()))
    })
}

/// A count of alternatives, within the limit.
pub(super) fn alternatives(name: &str, count: u64) -> Result<u8, Fault> {
    if count > TOP_LOGPROBS_MAX {
        return Err(Fault::field(
            name,
            format!("must be from 0 to {TOP_LOGPROBS_MAX}, not {count}"),
        ));
    }
    Ok(u8::try_from(count).unwrap_or(u8::MAX))
}

/// The cloud's limits hold on `/invocations`; elsewhere a request may take its time.
pub(super) fn deadline(call: &Call, edge: &Edge, stream: bool) -> Option<Duration> {
    match (call.door, stream) {
        (Door::V1, _) => None,
        (Door::Invocations, false) => Some(edge.deadline),
        (Door::Invocations, true) => Some(edge.stream_deadline),
    }
}

/// The longest time to wait for a first step.
pub(super) fn patience(call: &Call, edge: &Edge) -> Option<Duration> {
    (call.door == Door::Invocations).then_some(edge.deadline)
}
