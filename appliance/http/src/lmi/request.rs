//! A body in LMI's schema, and its defaults: greedy, 30 tokens.
//!
//! Next: `response.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{GenerateRequest, Prompt, SampleParams};
use serde_json::Value;

use crate::call::{self, Call, tell_ignored};
use crate::fault::{Fault, Kind};
use crate::fields::{Fields, is_empty, texts_of};
use crate::generations::Generations;
use crate::lmi::response::{Answer, Format, Lines};
use crate::state::OutputFormatter;
use crate::{sampling, stream};

const MAX_NEW_TOKENS: u32 = 30;
/// Prompts of one body.
const INPUTS_MAX: usize = 256;

/// What the parameters ask of the answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) details: bool,
    pub(crate) prefill: bool,
    pub(crate) full_text: bool,
    /// Alternatives to each token.
    pub(crate) top: u8,
}

/// Answers a body that is neither chat nor completion.
pub(crate) async fn invocation(call: &Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    refuse_other_schemas(&fields)?;
    let model = fields.text("model")?;
    let service = call.app.model(model.as_deref())?;
    let (texts, is_list) = inputs(&mut fields)?;
    let mut parameters = fields.nested("parameters", "parameters.")?;
    let stream = (fields.flag("stream")?, parameters.flag("stream")?);
    let stream = stream.0.or(stream.1);
    let format = format(call, stream);
    let settings = call.app.settings();
    let (request, shown) = request_of(&mut parameters, &settings.sampling)?;
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
            stream::response(generations, lines, format.content_type())
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

fn refuse_other_schemas(fields: &Fields) -> Result<(), Fault> {
    if fields.has("requestType") {
        return Err(Fault::unsupported("requestType (stateful sessions)"));
    }
    if fields.has("input") {
        return Err(Fault::unsupported("input (embeddings)"));
    }
    if fields.has("inputs") {
        return Ok(());
    }
    let message = "the body needs one of inputs (LMI), messages (chat), prompt (completion)";
    Err(Fault::new(Kind::Invalid, message))
}

/// The texts, and whether they came as a list.
fn inputs(fields: &mut Fields) -> Result<(Vec<String>, bool), Fault> {
    let value = fields.take("inputs").unwrap_or_default();
    let Some(texts) = texts_of(&value) else {
        let tensors =
            value.as_array().is_some_and(|a| a.iter().any(|v| v.get("datatype").is_some()));
        if tensors {
            return Err(Fault::unsupported("inputs[].datatype (Open Inference Protocol)"));
        }
        return Err(Fault::field("inputs", "must be a string or a list of strings"));
    };
    if texts.is_empty() || texts.len() > INPUTS_MAX {
        return Err(Fault::field("inputs", format!("must have from 1 to {INPUTS_MAX} strings")));
    }
    Ok((texts, value.is_array()))
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
    refuse_unsupported(fields)?;
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
        max_new_tokens: Some(fields.count32("max_new_tokens")?.unwrap_or(MAX_NEW_TOKENS)),
        // Every token is shown with its log probability.
        params: SampleParams { logprobs: Some(top), ..params(fields, defaults)? },
        seed: fields.integer("seed")?.map(i64::cast_unsigned),
        choices: fields.count16("n")?.unwrap_or(1),
        include_stop: fields.flag("include_stop_str_in_output")?.unwrap_or(false),
        stop_token_ids: fields.tokens("stop_token_ids")?.unwrap_or_default(),
        truncate: fields.count32("truncate")?,
        ..GenerateRequest::new(Prompt::Text(String::new()))
    };
    // Two names of one thing: both are checked, the first one counts.
    let (stop, other) = (fields.texts("stop_sequences")?, fields.texts("stop")?);
    request.stop = stop.or(other).unwrap_or_default();
    let (ignore, other) = (fields.flag("ignore_eos_token")?, fields.flag("ignore_eos")?);
    request.ignore_eos = ignore.or(other).unwrap_or(false);
    request.skip_special_tokens = fields.flag("skip_special_tokens")?.unwrap_or(true);
    Ok((request, shown))
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

/// What would change the answer and cannot be done yet.
fn refuse_unsupported(fields: &mut Fields) -> Result<(), Fault> {
    let one = |value: &Value| value.as_f64() == Some(1.0);
    for name in ["best_of", "num_beams", "length_penalty", "typical_p"] {
        fields.refuse(name, one)?;
    }
    for name in ["watermark", "early_stopping", "bad_words", "prompt_logprobs", "adapters"] {
        fields.refuse(name, is_empty)?;
    }
    for name in ["grammar", "guided_json", "guided_regex", "guided_choice", "guided_grammar"] {
        fields.refuse(name, is_empty)?;
    }
    for name in ["structured_outputs", "response_format", "logit_bias", "tools"] {
        fields.refuse(name, is_empty)?;
    }
    // Between special tokens there is no space to add: tokens carry their own.
    fields.flag("spaces_between_special_tokens")?;
    Ok(())
}
