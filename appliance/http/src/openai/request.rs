//! The fields chat and completions share, with OpenAI's defaults and vLLM's additions.
//!
//! Next: `chat.rs`.

use std::time::{Duration, SystemTime};

use gimbal_engine::{Edge, GenerateRequest, Service, Wanted};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::random_hex;
use crate::call::Call;
use crate::fault::{Door, Fault};
use crate::fields::Fields;
use crate::members::part;
use crate::names::Scope;
use crate::sampling::Sampling;
use crate::structured::Structured;
use crate::typed::{Count, Flag, Number};

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

/// What chat and completions share beside [`Sampling`].
#[derive(Debug, Deserialize)]
pub(super) struct Shared {
    pub(super) model: Option<String>,
    truncate_prompt_tokens: Option<Count>,
    #[expect(dead_code, reason = "who asks changes nothing")]
    user: Option<String>,
    #[expect(dead_code, reason = "no tools are called, so none are called in parallel")]
    parallel_tool_calls: Option<Flag>,
}

/// What `stream_options` may say.
#[derive(Debug, Deserialize)]
pub(super) struct StreamOptions {
    include_usage: Option<Flag>,
    continuous_usage_stats: Option<Flag>,
}

/// What chat and completions share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) sampling: Sampling,
    pub(super) shared: Shared,
    pub(super) delivery: Delivery,
    grammar: Option<Wanted>,
    /// Bytes of the trees that were made of it.
    pub(super) tree_bytes: usize,
}

impl Common {
    /// Takes the fields.
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Fault> {
        let has_options = fields.has("stream_options");
        let sampling: Sampling = part(fields)?;
        let stream = sampling.stream.is_some_and(|Flag(stream)| stream);
        if !stream && has_options {
            return Err(Fault::field("stream_options", "needs stream: true"));
        }
        let options: StreamOptions =
            fields.nested("stream_options", "stream_options.", |fields| {
                fields.refuse_unsupported(Scope::StreamOptions)?;
                part(fields)
            })?;
        let structured: Structured = part(fields)?;
        Ok(Self {
            sampling,
            shared: part(fields)?,
            delivery: Delivery { stream, told: options.told() },
            grammar: structured.wanted()?,
            tree_bytes: structured.bytes(),
        })
    }

    /// Everything but prompt, length and logprobs.
    pub(super) fn request(self, call: &Call, edge: &Edge) -> GenerateRequest {
        let defaults = &edge.sampling;
        let temperature = self.sampling.temperature;
        let temperature = temperature.map_or(defaults.temperature, |Number(n)| n);
        let params = self.sampling.params(temperature, defaults);
        GenerateRequest {
            grammar: self.grammar,
            truncate: self.shared.truncate_prompt_tokens.map(Count::small),
            ..self.sampling.request(params, call)
        }
    }
}

impl StreamOptions {
    fn told(&self) -> Told {
        let is = |flag: Option<Flag>| flag.is_some_and(|Flag(flag)| flag);
        // As vLLM: without the first the second asks for nothing.
        match (is(self.include_usage), is(self.continuous_usage_stats)) {
            (false, _) => Told::Never,
            (true, false) => Told::AtEnd,
            (true, true) => Told::Always,
        }
    }
}

/// A count of alternatives, within the limit.
pub(super) fn alternatives(name: &str, Count(count): Count) -> Result<u8, Fault> {
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
