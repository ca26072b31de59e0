//! Which values a request may have, whatever schema it came in.
//!
//! What depends on token counts is checked later, by the service. Next: `service.rs`.

use gimbal_batch::{Limits, SampleParams};
use serde_json::Value;

use crate::Refusal;
use crate::request::GenerateRequest;

/// Stop strings of one request: each costs a search in every piece of text.
const STOPS_MAX: usize = 64;
/// Characters of a stop string; so much text may be held back.
const STOP_CHARACTERS_MAX: usize = 1024;
/// Bytes of all stop strings: each is searched for in all text.
const STOP_BYTES_MAX: usize = 16 << 10;
const STOP_TOKENS_MAX: usize = 1024;
/// Tokens whose log probabilities are told at each position, as vLLM bounds them.
const LOGPROB_IDS_MAX: usize = 128;
/// Tokens and alternatives of one answer: each is some dozen bytes of JSON.
const ENTRIES_MAX: u64 = 2 << 20;

/// Checks all fields.
pub(crate) fn check(
    request: &GenerateRequest,
    limits: &Limits,
    choices_max: u16,
) -> Result<(), Refusal> {
    check_params(&request.params)?;
    let within = |holds: bool, field: &'static str, what: &str| {
        if holds { Ok(()) } else { Err(Refusal::Invalid { field, what: what.to_owned() }) }
    };
    let nothing = request.max_new_tokens == Some(0) && request.scores.is_none();
    within(!nothing, "max_new_tokens", "must be at least 1")?;
    let longest = request.max_new_tokens.unwrap_or(u32::MAX);
    within(request.min_new_tokens <= longest, "min_tokens", "must be at most max_tokens")?;
    let n = format!("must be from 1 to {choices_max}");
    within((1..=choices_max).contains(&request.choices), "n", &n)?;
    within(request.truncate != Some(0), "truncate", "must be at least 1")?;
    within(request.stop.len() <= STOPS_MAX, "stop", "at most 64 strings")?;
    let legal = |stop: &String| (1..=STOP_CHARACTERS_MAX).contains(&stop.chars().count());
    within(request.stop.iter().all(legal), "stop", "each must have from 1 to 1024 characters")?;
    let bytes: usize = request.stop.iter().map(String::len).sum();
    within(bytes <= STOP_BYTES_MAX, "stop", "at most 16384 bytes in all")?;
    let ids = request.stop_token_ids.len();
    within(ids <= STOP_TOKENS_MAX, "stop_token_ids", "at most 1024 tokens")?;
    check_ids(&request.logprob_token_ids, limits.vocab)?;
    if let Some(top) = request.scores {
        limits.accepts_scores(top).map_err(Refusal::of_device)?;
    }
    // Masks are made by the service and asked for at admission.
    limits.accepts(&request.params, false).map_err(Refusal::of_device)
}

/// Refuses what would be an answer of more tokens and alternatives than can be kept for one client.
pub(crate) fn check_answer(request: &GenerateRequest, max_model_len: u32) -> Result<(), Refusal> {
    let tokens = request.max_new_tokens.unwrap_or(max_model_len).min(max_model_len);
    let ids = u32::try_from(request.logprob_token_ids.len()).unwrap_or(u32::MAX);
    match request.params.logprobs {
        Some(top) if ids > 0 || top > 0 => {
            let each = if ids > 0 { ids } else { top.into() };
            check_entries("logprobs", request.choices, tokens, each)
        }
        _ => Ok(()),
    }
}

fn check_ids(ids: &[u32], vocab: u32) -> Result<(), Refusal> {
    let invalid = |what| Err(Refusal::Invalid { field: "logprob_token_ids", what });
    if ids.len() > LOGPROB_IDS_MAX {
        return invalid(format!("{} tokens, at most {LOGPROB_IDS_MAX}", ids.len()));
    }
    match ids.iter().find(|id| **id >= vocab) {
        Some(id) => invalid(format!("token {id} is out of vocabulary, which has {vocab}")),
        None => Ok(()),
    }
}

/// The same of what is told of a prompt, which every answer repeats.
pub(crate) fn check_scores(request: &GenerateRequest, prompt_tokens: u32) -> Result<(), Refusal> {
    let scores = request.scores;
    let check =
        |top: u8| check_entries("prompt_logprobs", request.choices, prompt_tokens, top.into());
    scores.map_or(Ok(()), check)
}

fn check_entries(
    field: &'static str,
    choices: u16,
    tokens: u32,
    alternatives: u32,
) -> Result<(), Refusal> {
    let entries = u64::from(tokens) * (1 + u64::from(alternatives)) * u64::from(choices);
    if entries <= ENTRIES_MAX {
        return Ok(());
    }
    let what = format!(
        "{choices} answers of {tokens} tokens with {alternatives} alternatives each are more than \
         {ENTRIES_MAX} entries; ask for fewer tokens, answers or alternatives"
    );
    Err(Refusal::Invalid { field, what })
}

fn check_params(params: &SampleParams) -> Result<(), Refusal> {
    // Bounds are those of OpenAI where it has the field, of LMI and vLLM otherwise. Comparisons
    // with NaN are false, so NaN is outside every range.
    let ranges = [
        ("temperature", params.temperature, 0.0, 100.0, "must be from 0 to 100"),
        ("top_p", params.top_p, f32::MIN_POSITIVE, 1.0, "must be above 0 and at most 1"),
        ("min_p", params.min_p, 0.0, 1.0, "must be from 0 to 1"),
        ("repetition_penalty", params.repetition_penalty, 1e-3, 1e3, "must be above 0"),
        ("presence_penalty", params.presence_penalty, -2.0, 2.0, "must be from -2 to 2"),
        ("frequency_penalty", params.frequency_penalty, -2.0, 2.0, "must be from -2 to 2"),
    ];
    for (field, value, least, most, what) in ranges {
        if !(least..=most).contains(&value) {
            return Err(Refusal::Invalid { field, what: format!("{value} given, {what}") });
        }
    }
    Ok(())
}

/// Bytes of all strings in a value.
pub(crate) fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(map) => map.values().map(text_bytes).sum(),
        _ => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::request::Prompt;
    use gimbal_batch::{Kv, Prefill, Sampling, Shape};

    /// The smallest device there is.
    pub(crate) fn limits() -> Limits {
        Limits {
            kv: Kv { blocks: 1, block_tokens: 1 },
            shape: Shape::Varlen { rows_max: 1 },
            prefill: Prefill::Chunked,
            sequences_max: 1,
            context_tokens_max: 1,
            vocab: 1,
            adapters_max: 0,
            inject_width: 0,
            depth: 1,
            sampling: Sampling { penalties: false, ..Sampling::HOST },
            batch_invariant: true,
        }
    }

    fn check_field(change: impl Fn(&mut GenerateRequest), expect: Option<&str>) {
        let mut request = GenerateRequest::new(Prompt::Text("a".into()));
        change(&mut request);
        let found = check(&request, &limits(), 128).map_err(|refusal| match refusal {
            Refusal::Invalid { field, .. } => field,
            Refusal::Unsupported { what } => what,
            _ => "other",
        });
        assert_eq!(found.err(), expect);
    }

    #[test]
    fn bad_values_are_named_by_their_field() {
        check_field(|_| {}, None);
        check_field(|r| r.params.temperature = f32::NAN, Some("temperature"));
        check_field(|r| r.params.temperature = -0.5, Some("temperature"));
        check_field(|r| r.params.top_p = 0.0, Some("top_p"));
        check_field(|r| r.params.min_p = f32::INFINITY, Some("min_p"));
        check_field(|r| r.params.repetition_penalty = 0.0, Some("repetition_penalty"));
        check_field(|r| r.params.presence_penalty = 3.0, Some("presence_penalty"));
        check_field(|r| r.choices = 0, Some("n"));
        check_field(|r| (r.min_new_tokens, r.max_new_tokens) = (3, Some(2)), Some("min_tokens"));
        check_field(|r| r.max_new_tokens = Some(0), Some("max_new_tokens"));
        check_field(|r| r.stop = [String::new()].into(), Some("stop"));
        check_field(|r| r.stop = vec!["x".into(); 65].into(), Some("stop"));
        check_field(|r| r.params.logprobs = Some(21), Some("logprobs"));
        check_field(|r| r.scores = Some(21), Some("prompt_logprobs"));
        check_field(|r| (r.scores, r.max_new_tokens) = (Some(0), Some(0)), None);
        check_field(|r| r.logprob_token_ids = [0; 128].into(), None);
        check_field(|r| r.logprob_token_ids = [0; 129].into(), Some("logprob_token_ids"));
        check_field(|r| r.logprob_token_ids = [0, 1].into(), Some("logprob_token_ids"));
        let penalty = Some("a repetition, presence or frequency penalty");
        check_field(|r| r.params.frequency_penalty = 1.0, penalty);
    }

    #[test]
    fn answers_are_bounded_before_there_are_any() {
        let with = |scores, logprobs, ids: u32| {
            let mut request = GenerateRequest::new(Prompt::Text("a".into()));
            request.params.logprobs = logprobs;
            request.logprob_token_ids = (0..ids).collect();
            GenerateRequest { scores, choices: 2, ..request }
        };
        let field = |found: Result<(), Refusal>| match found {
            Err(Refusal::Invalid { field, .. }) => Some(field),
            _ => None,
        };
        // 2 answers of 50,000 tokens, and so many entries each.
        assert_eq!(field(check_answer(&with(None, Some(19), 0), 50_000)), None);
        assert_eq!(field(check_answer(&with(None, Some(20), 0), 50_000)), Some("logprobs"));
        assert_eq!(field(check_answer(&with(None, Some(0), 20), 50_000)), Some("logprobs"));
        assert_eq!(field(check_answer(&with(None, None, 0), u32::MAX)), None);
        assert_eq!(field(check_scores(&with(Some(19), None, 0), 50_000)), None);
        assert_eq!(field(check_scores(&with(Some(20), None, 0), 50_000)), Some("prompt_logprobs"));
        assert_eq!(field(check_scores(&with(None, None, 0), u32::MAX)), None);
    }
}
