//! A body in LMI's schema, and its defaults: 30 tokens; greedy unless something asks for sampling.
//!
//! Next: `response.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Edge, GenerateRequest, OutputFormatter, Prompt, SampleParams};
use serde_json::Value;

use crate::call::{Call, tell_ignored};
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::framing::Framing;
use crate::generations::Generations;
use crate::lmi::response::{Answer, Lines};
use crate::lmi::shown::{Asked, Shown};
use crate::names::Scope;
use crate::sampling::Narrowing;
use crate::typed::{PROMPTS_MAX, STOP_TOKENS_MAX, STOPS_MAX};
use crate::{stream, whole};

const MAX_NEW_TOKENS: u32 = 30;

/// Answers a body that is neither chat nor completion.
pub(crate) async fn invocation(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    refuse_other_schemas(&mut fields)?;
    let model = fields.text("model")?;
    let service = call.app.model(model.as_deref(), call.door)?;
    let (texts, is_list) = inputs(&mut fields)?;
    let mut parameters = fields.nested("parameters", "parameters.")?;
    let stream = (fields.flag("stream")?, parameters.flag("stream")?);
    let stream = stream.0.or(stream.1);
    let edge = service.edge();
    let framing = framing(call, edge, stream);
    let (request, shown) = request_of(&mut parameters, &edge.sampling)?;
    let shown = Shown { tgi: edge.tgi_compat, ..shown };
    let request =
        GenerateRequest { client: call.client(), salt: call.salt(&mut parameters)?, ..request };
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
    let answer = Answer::new(tokenizer, shown);
    let asked = |(i, text): (usize, String)| Asked {
        text,
        prompt: generations.prompt(i),
        seed: seeds.get(i).map_or(0, |seed| seed.cast_signed()),
    };
    let mut asked: Vec<Asked> = texts.into_iter().enumerate().map(asked).collect();
    let mut response = match framing {
        Some(framing) => {
            let asked = asked.pop().unwrap_or_default();
            let lines = Lines::new(answer, framing, asked, call.share.take());
            stream::response(call, generations, lines, framing)
        }
        None => {
            let (choices, _) = generations.complete().await?;
            let answers = asked.iter().zip(choices);
            let answers = answers.map(|(asked, choices)| answer.whole(asked, &choices));
            let mut answers: Vec<Value> = answers.collect();
            match is_list || edge.tgi_compat {
                true => whole::json(call, &Value::Array(answers))?,
                false => whole::json(call, &answers.pop().unwrap_or_default())?,
            }
        }
    };
    tell_ignored(&mut response, &[&fields, &parameters]);
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
    if fields.has("inputs") {
        return Ok(());
    }
    let message = "the body needs one of inputs (LMI), messages (chat), prompt (completion)";
    Err(Fault::new(Kind::Invalid, message))
}

/// The texts, and whether they came as a list.
fn inputs(fields: &mut Fields) -> Result<(Vec<String>, bool), Fault> {
    if fields.is_list_of_objects("inputs") {
        return Err(Fault::unsupported("inputs[].datatype (Open Inference Protocol)"));
    }
    let is_list = fields.is_list("inputs");
    let texts = fields.texts::<PROMPTS_MAX>("inputs")?.unwrap_or_default();
    if texts.is_empty() {
        return Err(Fault::field("inputs", "must not be empty"));
    }
    Ok((texts, is_list))
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

fn request_of(
    fields: &mut Fields,
    defaults: &SampleParams,
) -> Result<(GenerateRequest, Shown), Fault> {
    fields.refuse_unsupported(Scope::LmiParameters)?;
    // Between special tokens there is no space to add: tokens carry their own.
    fields.flag("spaces_between_special_tokens")?;
    let shown = Shown {
        details: fields.flag("details")?.unwrap_or(false),
        prefill: fields.flag("decoder_input_details")?.unwrap_or(false),
        full_text: fields.flag("return_full_text")?.unwrap_or(false),
        top: 0,
        tgi: false,
    };
    let top = fields.count("top_n_tokens")?.or(fields.count("logprobs")?).unwrap_or(0);
    let top = u8::try_from(top).unwrap_or(u8::MAX);
    let shown = Shown { top, ..shown };
    let mut request = GenerateRequest {
        max_new_tokens: Some(max_tokens(fields)?.unwrap_or(MAX_NEW_TOKENS)),
        // Every token is shown with its log probability.
        params: SampleParams { logprobs: Some(top), ..params(fields, defaults)? },
        seed: fields.integer("seed")?.map(i64::cast_unsigned),
        min_new_tokens: min_tokens(fields)?,
        choices: fields.count16("n")?.unwrap_or(1),
        include_stop: fields.flag("include_stop_str_in_output")?.unwrap_or(false),
        stop_token_ids: fields
            .tokens::<STOP_TOKENS_MAX>("stop_token_ids")?
            .unwrap_or_default()
            .into(),
        truncate: fields.count32("truncate")?,
        ..GenerateRequest::new(Prompt::Text(String::new()))
    };
    // Two names of one thing: both are checked, the first one counts.
    let (stop, other) =
        (fields.texts::<STOPS_MAX>("stop_sequences")?, fields.texts::<STOPS_MAX>("stop")?);
    request.stop = stop.or(other).unwrap_or_default().into();
    let (ignore, other) = (fields.flag("ignore_eos_token")?, fields.flag("ignore_eos")?);
    request.ignore_eos = ignore.or(other).unwrap_or(false);
    request.skip_special_tokens = fields.flag("skip_special_tokens")?.unwrap_or(true);
    Ok((request, shown))
}

/// Two names of one thing: both are checked, the first one counts.
fn max_tokens(fields: &mut Fields) -> Result<Option<u32>, Fault> {
    let (own, other) = (fields.count32("max_new_tokens")?, fields.count32("max_tokens")?);
    Ok(own.or(other))
}

fn min_tokens(fields: &mut Fields) -> Result<u32, Fault> {
    let (own, other) = (fields.count32("min_new_tokens")?, fields.count32("min_tokens")?);
    Ok(own.or(other).unwrap_or(0))
}

/// `do_sample` false is greedy whatever else is said; absent, what chooses among tokens asks for
/// sampling. **Source**: LMI from 0.32 on; TGI's `has_warpers`.
fn params(fields: &mut Fields, defaults: &SampleParams) -> Result<SampleParams, Fault> {
    let do_sample = fields.flag("do_sample")?;
    let temperature = fields.number("temperature")?;
    let narrowing = Narrowing::take(fields)?;
    let temperature = match do_sample {
        Some(false) => 0.0,
        None if temperature.is_none() && !narrowing.is_some() => 0.0,
        _ => temperature.unwrap_or(defaults.temperature),
    };
    narrowing.params(fields, temperature, defaults)
}
