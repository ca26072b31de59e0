//! A body in LMI's schema, and its defaults: greedy, 30 tokens.
//!
//! Next: `response.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{GenerateRequest, Prompt, SampleParams};
use serde_json::Value;

use crate::call::{self, Call, tell_ignored};
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::generations::Generations;
use crate::lmi::response::{Answer, Format, Lines};
use crate::names::Scope;
use crate::state::OutputFormatter;
use crate::typed::{PROMPTS_MAX, STOP_TOKENS_MAX, STOPS_MAX};
use crate::{copies, sampling, stream};

const MAX_NEW_TOKENS: u32 = 30;

/// What the parameters ask of the answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) details: bool,
    pub(crate) prefill: bool,
    pub(crate) full_text: bool,
    /// Alternatives to each token.
    pub(crate) top: u8,
}

impl Shown {
    /// Refuses answers that are little else than many copies of a long input.
    fn check_copies(self, texts: &[String], choices: u16) -> Result<(), Fault> {
        if !self.full_text {
            return Ok(());
        }
        let bytes: usize = texts.iter().map(String::len).sum();
        copies::check("parameters.return_full_text", bytes, choices)
    }
}

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
    let format = format(call, stream);
    let settings = call.app.settings();
    let (request, shown) = request_of(&mut parameters, &settings.sampling)?;
    let request =
        GenerateRequest { client: call.client(), salt: call.salt(&mut parameters)?, ..request };
    service.check(&request)?;
    shown.check_copies(&texts, request.choices)?;
    let deadline = match format {
        None => settings.invocations_deadline,
        Some(_) => settings.invocations_stream_deadline,
    };
    let requests: Vec<_> = texts
        .iter()
        .map(|text| GenerateRequest {
            prompt: Prompt::Text(text.clone()),
            deadline: Some(deadline),
            ..request.clone()
        })
        .collect();
    if format.is_some() && requests.len() > 1 {
        return Err(Fault::field("stream", "one input can be streamed, not a list"));
    }
    let patience = Some(settings.invocations_deadline);
    let generations = Generations::start(&service, requests, patience).await?;
    let tokenizer = service.tokenizer();
    let answer = Answer::new(tokenizer, shown);
    let mut response = match format {
        Some(format) => {
            let lines = Lines::new(answer, format, texts.into_iter().next().unwrap_or_default());
            stream::response(call, generations, lines, format.content_type())
        }
        None => {
            let prompts = (0..texts.len()).map(|i| generations.prompt(i).to_vec());
            let prompts: Vec<_> = prompts.collect();
            let (choices, _) = generations.complete().await?;
            let answers = texts.iter().zip(&prompts).zip(choices);
            let answers =
                answers.map(|((text, prompt), choices)| answer.whole(text, prompt, &choices));
            let mut answers: Vec<Value> = answers.collect();
            match is_list {
                true => call::json(&Value::Array(answers)),
                false => call::json(&answers.pop().unwrap_or_default()),
            }
        }
    };
    tell_ignored(&mut response, &[&fields, &parameters]);
    Ok(response)
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
fn format(call: &Call, stream: Option<bool>) -> Option<Format> {
    let formatter = call.app.settings().output_formatter;
    let sse = call.accepts("text/event-stream") || formatter == OutputFormatter::Sse;
    let always = matches!(formatter, OutputFormatter::Sse | OutputFormatter::JsonLines);
    let lines = call.accepts("application/jsonlines");
    let streams = stream.unwrap_or(always || call.accepts("text/event-stream") || lines);
    let format = if sse && (!lines || call.accepts("text/event-stream")) {
        Format::Sse
    } else {
        Format::JsonLines
    };
    streams.then_some(format)
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

/// `do_sample` false is greedy whatever else is said; absent, a temperature asks for sampling.
fn params(fields: &mut Fields, defaults: &SampleParams) -> Result<SampleParams, Fault> {
    let do_sample = fields.flag("do_sample")?;
    let temperature = fields.number("temperature")?;
    let temperature = match do_sample {
        Some(false) => 0.0,
        Some(true) => temperature.unwrap_or(defaults.temperature),
        None => temperature.unwrap_or(0.0),
    };
    sampling::params(fields, temperature, defaults)
}
