//! `/completion`: continues a prompt, or several, to their end unless `n_predict` says otherwise.
//!
//! Next: `shapes.rs`.

use std::time::Instant;

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{GenerateRequest, Prompt, SampleParams};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::{Answer, Asked};
use crate::call::{Call, tell_ignored};
use crate::copies;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::framing::Framing;
use crate::generations::Generations;
use crate::members::part;
use crate::names::Scope;
use crate::sampling::Sampling;
use crate::schemas;
use crate::stream;
use crate::structured::Structured;
use crate::typed::{Count, Flag, Integer, Prompts};

/// Alternatives a client may ask for, as by OpenAI's routes.
const PROBABILITIES_MAX: u64 = 20;

/// What a body says beside what other schemas say too.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct LlamaFields {
    #[schema(schema_with = schemas::text)]
    model: Option<String>,
    #[schema(schema_with = schemas::prompts)]
    prompt: Option<Prompts>,
    #[schema(schema_with = schemas::any_length)]
    n_predict: Option<Integer>,
    #[schema(schema_with = schemas::alternatives)]
    n_probs: Option<Count>,
    #[schema(schema_with = schemas::flag)]
    return_tokens: Option<Flag>,
}

/// Answers one prompt or several.
pub(crate) async fn completion(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Llama)?;
    let began = Instant::now();
    let mut sampling: Sampling = part(&mut fields)?;
    let structured: Structured = part(&mut fields)?;
    let own: LlamaFields = part(&mut fields)?;
    let service = call.app.model(own.model.as_deref(), call.door)?;
    let is_stream = sampling.stream.is_some_and(|Flag(stream)| stream);
    let length = length(own.n_predict, sampling.max_tokens)?;
    let prompts = own.prompt.ok_or_else(|| Fault::field("prompt", "is missing"))?;
    let top = match own.n_probs.map_or(0, |Count(count)| count) {
        0 => None,
        count @ 1..=PROBABILITIES_MAX => Some(u8::try_from(count).unwrap_or(u8::MAX)),
        count => {
            let what = format!("must be from 0 to {PROBABILITIES_MAX}, not {count}");
            return Err(Fault::field("n_probs", what));
        }
    };
    // Its word for any seed.
    sampling.seed = sampling.seed.filter(|Integer(seed)| *seed != -1);
    // So that the one that was found is known; it is taken out of the text again.
    sampling.include_stop_str_in_output = Some(Flag(true));
    call.charge(structured.bytes())?;
    let base = sampling.plain(call, service.edge());
    let base = GenerateRequest {
        max_new_tokens: length,
        grammar: structured.wanted()?,
        params: SampleParams { logprobs: top, ..base.params.clone() },
        ..base
    };
    service.check(&base)?;
    let is_list = prompts.len() > 1 || base.choices > 1;
    if is_list && is_stream {
        return Err(Fault::field("stream", "not with several prompts, nor with n"));
    }
    // Each answer repeats its prompt.
    copies::check("n", prompts.bytes(), base.choices)?;
    let asked = Asked {
        stops: base.stop.clone(),
        params: base.params.clone(),
        seed: base.seed.map_or(-1, u64::cast_signed),
        n_predict: length.map_or(-1, i64::from),
        top,
        has_tokens: own.return_tokens.is_some_and(|Flag(flag)| flag),
        is_list,
    };
    let prompts = match prompts {
        Prompts::Texts(texts) => texts.into_iter().map(Prompt::Text).collect(),
        Prompts::Tokens(lists) => lists.into_iter().map(Prompt::Tokens).collect::<Vec<_>>(),
    };
    let request = |prompt| GenerateRequest { prompt, ..base.clone() };
    let requests: Vec<_> = prompts.into_iter().map(request).collect();
    let count = requests.len();
    let generations = Generations::start(&service, requests, None).await?;
    call.share = None;
    let decode = |i| service.tokenizer().decode(&generations.prompt(i), false);
    let answer = Answer {
        model: service.name().to_owned(),
        tokenizer: service.tokenizer().clone(),
        began,
        prompts: (0..count).map(decode).collect(),
        prompt_tokens: (0..count).map(|i| generations.usage_of(i).prompt_tokens).collect(),
        asked,
        told: 0,
        last: None,
        has_new_line: false,
    };
    let framing = is_stream.then_some(Framing::Events);
    let mut response = stream::answer(call, generations, answer, framing).await?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}

/// The longest answer: `n_predict`, else `max_tokens`; -1 and -2 are as long as the context allows.
fn length(n_predict: Option<Integer>, max_tokens: Option<Count>) -> Result<Option<u32>, Fault> {
    match (n_predict, max_tokens) {
        (None | Some(Integer(-2..=-1)), None) => Ok(None),
        (None, Some(count)) => Ok(Some(count.small())),
        (Some(Integer(-2..=-1)), Some(_)) => Ok(None),
        (Some(Integer(count @ 1..)), _) => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
        (Some(Integer(count)), _) => {
            let what = format!("must be at least 1, or -1 for no limit, not {count}");
            Err(Fault::field("n_predict", what))
        }
    }
}
