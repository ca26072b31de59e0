//! The fields chat and completions share, with OpenAI's defaults and vLLM's additions.
//!
//! Next: `chat.rs`.

use std::time::{Duration, SystemTime};

use gimbal_engine::{Edge, GenerateRequest, Service, Usage, Wanted};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shapes::{Cost, Object};
use crate::access::random_hex;
use crate::call::Call;
use crate::fault::{Door, Fault};
use crate::fields::Fields;
use crate::framing::Frames;
use crate::members::part;
use crate::names::Scope;
use crate::sampling::Sampling;
use crate::schemas;
use crate::structured::Structured;
use crate::typed::{Count, Flag};

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
    pub(super) fn object<C: ToSchema>(
        &self,
        object: &'static str,
        choices: Vec<C>,
        usage: Option<Option<Cost>>,
    ) -> Object<'_, C> {
        Object {
            id: &self.id,
            object,
            created: self.created,
            model: &self.model,
            system_fingerprint: &self.fingerprint,
            choices,
            usage,
            prompt_token_ids: None,
            prompt_logprobs: None,
        }
    }

    /// The end of a stream: what it cost, where asked for.
    pub(super) fn done<C: Serialize + ToSchema>(
        &self,
        object: &'static str,
        cost: Option<Usage>,
        out: &mut Frames,
    ) {
        if let Some(cost) = cost {
            out.add(&self.object::<C>(object, Vec::new(), Some(Some(cost.into()))));
        }
        out.done();
    }
}

/// What chat and completions share beside [`Sampling`].
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Shared {
    #[schema(schema_with = schemas::text)]
    pub(super) model: Option<String>,
    #[schema(schema_with = schemas::length)]
    truncate_prompt_tokens: Option<Count>,
    #[expect(dead_code, reason = "who asks changes nothing")]
    #[schema(schema_with = schemas::text)]
    user: Option<String>,
}

/// What `stream_options` may say.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct StreamOptions {
    #[schema(schema_with = schemas::flag)]
    include_usage: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
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
        GenerateRequest {
            grammar: self.grammar,
            truncate: self.shared.truncate_prompt_tokens.map(Count::small),
            ..self.sampling.plain(call, edge)
        }
    }
}

impl Told {
    /// The member `usage` of a chunk.
    pub(super) fn usage(self, cost: Usage) -> Option<Option<Cost>> {
        match self {
            Self::Never => None,
            Self::AtEnd => Some(None),
            Self::Always => Some(Some(cost.into())),
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
pub(crate) fn alternatives(name: &str, Count(count): Count) -> Result<u8, Fault> {
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
