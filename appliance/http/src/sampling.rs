//! The fields all schemas share, and the model's own defaults for them.
//!
//! Next: `stream.rs`.

use gimbal_engine::{Edge, GenerateRequest, Prompt, SampleParams};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::call::Call;
use crate::schemas;
use crate::typed::{Count, Flag, Ids, Integer, Number, STOP_TOKENS_MAX, STOPS_MAX, Texts, TopK};

/// What every schema may say of how to continue.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Sampling {
    #[schema(schema_with = schemas::temperature)]
    pub(crate) temperature: Option<Number>,
    #[schema(schema_with = schemas::top_p)]
    pub(crate) top_p: Option<Number>,
    #[schema(schema_with = schemas::min_p)]
    pub(crate) min_p: Option<Number>,
    #[schema(schema_with = schemas::top_k)]
    pub(crate) top_k: Option<TopK>,
    #[schema(schema_with = schemas::repetition_penalty)]
    pub(crate) repetition_penalty: Option<Number>,
    #[schema(schema_with = schemas::penalty)]
    pub(crate) presence_penalty: Option<Number>,
    #[schema(schema_with = schemas::penalty)]
    pub(crate) frequency_penalty: Option<Number>,
    #[schema(schema_with = schemas::seed)]
    pub(crate) seed: Option<Integer>,
    #[schema(schema_with = schemas::count)]
    pub(crate) min_tokens: Option<Count>,
    #[schema(schema_with = schemas::length)]
    pub(crate) max_tokens: Option<Count>,
    #[schema(schema_with = schemas::choices)]
    pub(crate) n: Option<Count>,
    #[schema(schema_with = schemas::stop)]
    pub(crate) stop: Option<Texts<STOPS_MAX>>,
    #[schema(schema_with = schemas::flag)]
    pub(crate) include_stop_str_in_output: Option<Flag>,
    #[schema(schema_with = schemas::stop_tokens)]
    pub(crate) stop_token_ids: Option<Ids<STOP_TOKENS_MAX>>,
    #[schema(schema_with = schemas::flag)]
    pub(crate) ignore_eos: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    pub(crate) skip_special_tokens: Option<Flag>,
    #[schema(schema_with = schemas::text)]
    pub(crate) cache_salt: Option<String>,
    #[schema(schema_with = schemas::flag)]
    pub(crate) stream: Option<Flag>,
}

impl Sampling {
    /// True if it leaves some tokens out.
    pub(crate) fn is_narrow(&self) -> bool {
        let all = SampleParams::default();
        self.top_k.is_some_and(|TopK(k)| k != all.top_k)
            || self.top_p.is_some_and(|Number(p)| p < all.top_p)
            || self.min_p.is_some_and(|Number(p)| p > all.min_p)
    }

    /// The request as OpenAI and Anthropic mean it, but for its prompt and its length.
    pub(crate) fn plain(self, call: &Call, edge: &Edge) -> GenerateRequest {
        let temperature = self.temperature.map_or(edge.sampling.temperature, |Number(n)| n);
        let params = self.params(temperature, &edge.sampling);
        self.request(params, call)
    }

    /// What is asked of the sampler. Absent fields are the defaults where the request samples; greedy
    /// ones change nothing unless they say so themselves.
    pub(crate) fn params(&self, temperature: f32, defaults: &SampleParams) -> SampleParams {
        let greedy = SampleParams::default();
        let defaults = if temperature == 0.0 { &greedy } else { defaults };
        let number = |said: Option<Number>, default: f32| said.map_or(default, |Number(n)| n);
        SampleParams {
            temperature,
            top_k: self.top_k.map_or(defaults.top_k, |TopK(k)| k),
            top_p: number(self.top_p, defaults.top_p),
            min_p: number(self.min_p, defaults.min_p),
            repetition_penalty: number(self.repetition_penalty, defaults.repetition_penalty),
            presence_penalty: number(self.presence_penalty, defaults.presence_penalty),
            frequency_penalty: number(self.frequency_penalty, defaults.frequency_penalty),
            ..SampleParams::default()
        }
    }

    /// The request, but for its prompt and its length.
    pub(crate) fn request(self, params: SampleParams, call: &Call) -> GenerateRequest {
        let flag = |said: Option<Flag>, default| said.map_or(default, |Flag(flag)| flag);
        GenerateRequest {
            params,
            seed: self.seed.map(|Integer(seed)| seed.cast_unsigned()),
            min_new_tokens: self.min_tokens.map_or(0, Count::small),
            choices: self.n.map_or(1, Count::smaller),
            stop: self.stop.map(|stop| stop.texts).unwrap_or_default().into(),
            include_stop: flag(self.include_stop_str_in_output, false),
            stop_token_ids: self.stop_token_ids.map(|Ids(ids)| ids).unwrap_or_default().into(),
            ignore_eos: flag(self.ignore_eos, false),
            skip_special_tokens: flag(self.skip_special_tokens, true),
            client: call.client(),
            salt: call.salt(self.cache_salt.as_deref()),
            ..GenerateRequest::new(Prompt::Text(String::new()))
        }
    }
}
