//! A body in LMI's schema, and its defaults: 30 tokens; greedy unless something asks for sampling.
//!
//! Next: `response.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Edge, GenerateRequest, OutputFormatter, Prompt, SampleParams};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::call::{Call, tell_ignored};
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::framing::Framing;
use crate::generations::Generations;
use crate::lmi::response::{Answer, Writer};
use crate::lmi::shown::{Asked, Shown};
use crate::members::part;
use crate::names::Scope;
use crate::sampling::Sampling;
use crate::schemas;
use crate::stream;
use crate::structured::Structured;
use crate::typed::{Count, Flag, Number, PROMPTS_MAX, STOPS_MAX, Texts};

const MAX_NEW_TOKENS: u32 = 30;

/// What a body says beside its parameters.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct LmiFields {
    #[schema(schema_with = schemas::text)]
    model: Option<String>,
    #[schema(schema_with = schemas::inputs)]
    inputs: Option<Texts<PROMPTS_MAX>>,
    #[schema(schema_with = schemas::flag)]
    stream: Option<Flag>,
}

/// What `parameters` say beside what every schema may say.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct LmiParameters {
    #[expect(dead_code, reason = "tokens carry their own spaces")]
    #[schema(schema_with = schemas::flag)]
    spaces_between_special_tokens: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    details: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    decoder_input_details: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    return_full_text: Option<Flag>,
    #[schema(schema_with = schemas::alternatives)]
    top_n_tokens: Option<Count>,
    #[schema(schema_with = schemas::alternatives)]
    logprobs: Option<Count>,
    #[schema(schema_with = schemas::length)]
    max_new_tokens: Option<Count>,
    #[schema(schema_with = schemas::count)]
    min_new_tokens: Option<Count>,
    #[schema(schema_with = schemas::flag)]
    do_sample: Option<Flag>,
    #[schema(schema_with = schemas::length)]
    truncate: Option<Count>,
    #[schema(schema_with = schemas::stop)]
    stop_sequences: Option<Texts<STOPS_MAX>>,
    #[schema(schema_with = schemas::flag)]
    ignore_eos_token: Option<Flag>,
}

/// Answers a body that is neither chat nor completion.
pub(crate) async fn invocation(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    refuse_other_schemas(&mut fields)?;
    let own: LmiFields = part(&mut fields)?;
    let service = call.app.model(own.model.as_deref(), call.door)?;
    let Some(Texts { texts, is_list }) = own.inputs.filter(|inputs| !inputs.texts.is_empty())
    else {
        return Err(Fault::field("inputs", "must not be empty"));
    };
    let (sampling, parameters, structured) =
        fields.nested("parameters", "parameters.", |fields| {
            fields.refuse_unsupported(Scope::LmiParameters)?;
            let (sampling, parameters) = (part(fields)?, part::<LmiParameters>(fields)?);
            Ok((sampling, parameters, part::<Structured>(fields)?))
        })?;
    call.charge(structured.bytes())?;
    let sampling: Sampling = sampling;
    let stream = own.stream.or(sampling.stream).map(|Flag(stream)| stream);
    let edge = service.edge();
    let framing = framing(call, edge, stream);
    let shown = Shown { tgi: edge.tgi_compat, ..parameters.shown() };
    let request = parameters.request(sampling, shown, call, &edge.sampling);
    let request = GenerateRequest { grammar: structured.wanted()?, ..request };
    service.check(&request)?;
    shown.check_copies(&texts, request.choices)?;
    let deadline = match framing {
        None => edge.deadline,
        Some(_) => edge.stream_deadline,
    };
    if framing.is_some() && texts.len() > 1 {
        return Err(Fault::field("stream", "one input can be streamed, not a list"));
    }
    let seeds: Vec<u64> = texts.iter().map(|_| request.seed.unwrap_or_else(random_seed)).collect();
    let of_text = |(text, seed): (&String, &u64)| GenerateRequest {
        prompt: Prompt::Text(text.clone()),
        seed: Some(*seed),
        deadline: Some(deadline),
        ..request.clone()
    };
    let requests: Vec<_> = texts.iter().zip(&seeds).map(of_text).collect();
    let patience = Some(edge.deadline);
    let generations = Generations::start(&service, requests, patience).await?;
    let tokenizer = service.tokenizer();
    let writer = Writer::new(tokenizer, shown);
    let asked = |(i, text): (usize, String)| Asked {
        text,
        prompt: generations.prompt(i),
        seed: seeds.get(i).map_or(0, |seed| seed.cast_signed()),
    };
    let asked = texts.into_iter().enumerate().map(asked).collect();
    let answer = Answer::new(writer, asked, is_list || edge.tgi_compat, call.share.take());
    let mut response = stream::answer(call, generations, answer, framing).await?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}

/// Any seed that every JSON reader can hold.
fn random_seed() -> u64 {
    const BITS: u32 = 53;
    gimbal_text::random() >> (u64::BITS - BITS)
}

fn refuse_other_schemas(fields: &mut Fields) -> Result<(), Fault> {
    fields.refuse_unsupported(Scope::Lmi)?;
    fields.refuse_misplaced(Scope::Lmi, "parameters")?;
    if fields.is_list_of_objects("inputs") {
        return Err(Fault::unsupported("inputs[].datatype (Open Inference Protocol)"));
    }
    if fields.has("inputs") {
        return Ok(());
    }
    let message = "the body needs one of inputs (LMI), messages (chat), prompt (completion)";
    Err(Fault::new(Kind::Invalid, message))
}

/// How to stream, if at all.
fn framing(call: &Call, edge: &Edge, stream: Option<bool>) -> Option<Framing> {
    let formatter = edge.output_formatter;
    let events = call.accepts("text/event-stream");
    let unasked = match formatter {
        OutputFormatter::Json => false,
        OutputFormatter::Auto => events || call.accepts_lines(),
        OutputFormatter::JsonLines | OutputFormatter::Sse => true,
    };
    let as_events =
        events || !call.accepts_lines() && (formatter == OutputFormatter::Sse || edge.tgi_compat);
    let framing = if as_events { Framing::PlainEvents } else { Framing::Lines };
    stream.unwrap_or(unasked).then_some(framing)
}

impl LmiParameters {
    fn shown(&self) -> Shown {
        let is = |flag: Option<Flag>| flag.is_some_and(|Flag(flag)| flag);
        let Count(top) = self.top_n_tokens.or(self.logprobs).unwrap_or(Count(0));
        Shown {
            details: is(self.details),
            prefill: is(self.decoder_input_details),
            full_text: is(self.return_full_text),
            top: u8::try_from(top).unwrap_or(u8::MAX),
            tgi: false,
        }
    }

    /// The request, but for its text. Of two names of one thing both are checked, and LMI's counts.
    fn request(
        self,
        sampling: Sampling,
        shown: Shown,
        call: &Call,
        defaults: &SampleParams,
    ) -> GenerateRequest {
        let params = self.params(&sampling, defaults);
        let max_tokens = self.max_new_tokens.or(sampling.max_tokens);
        let sampling = Sampling {
            min_tokens: self.min_new_tokens.or(sampling.min_tokens),
            stop: self.stop_sequences.or(sampling.stop),
            ignore_eos: self.ignore_eos_token.or(sampling.ignore_eos),
            ..sampling
        };
        // Every token is shown with its log probability.
        let params = SampleParams { logprobs: Some(shown.top), ..params };
        GenerateRequest {
            max_new_tokens: Some(max_tokens.map_or(MAX_NEW_TOKENS, Count::small)),
            truncate: self.truncate.map(Count::small),
            ..sampling.request(params, call)
        }
    }

    /// `do_sample` false is greedy whatever else is said; absent, what chooses among tokens asks for
    /// sampling. **Source**: LMI from 0.32 on; TGI's `has_warpers`.
    fn params(&self, sampling: &Sampling, defaults: &SampleParams) -> SampleParams {
        let temperature = sampling.temperature.map(|Number(n)| n);
        let temperature = match self.do_sample {
            Some(Flag(false)) => 0.0,
            None if temperature.is_none() && !sampling.is_narrow() => 0.0,
            _ => temperature.unwrap_or(defaults.temperature),
        };
        sampling.params(temperature, defaults)
    }
}
