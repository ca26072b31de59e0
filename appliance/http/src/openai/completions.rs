//! `/v1/completions`, and completion bodies on `/invocations`: 16 tokens unless asked otherwise.
//!
//! Next: `logprobs.rs`.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use gimbal_engine::{
    Completed, Delta, GenerateRequest, Prompt, PromptScore, SampleParams, Service, TokenInfo, Usage,
};
use gimbal_text::Tokenizer;
use serde::Deserialize;
use utoipa::ToSchema;

use super::logprobs;
use super::logprobs::{Entry, Shown, ShownFields};
use super::request::{Common, Delivery, Header, Told, alternatives, deadline, patience};
use super::shapes::{Finish, TextChoice, TextLogprobs};
use super::tokens::prompt_of;
use crate::budget::Share;
use crate::call::{self, Call, tell_ignored};
use crate::copies;
use crate::fault::{Door, Fault, Schema};
use crate::fields::Fields;
use crate::framing::Frames;
use crate::generations::{Generations, fault_of};
use crate::members::part;
use crate::names::Scope;
use crate::schemas;
use crate::stream::{self, Encode};
use crate::typed::{Count, Flag, Prompts};
use crate::whole;

const MAX_TOKENS: u32 = 16;
const OBJECT: &str = "text_completion";

/// What a completion body says beside what chats say too.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CompletionFields {
    #[schema(schema_with = schemas::prompts)]
    prompt: Option<Prompts>,
    #[schema(schema_with = schemas::alternatives)]
    logprobs: Option<Count>,
    #[schema(schema_with = schemas::flag)]
    echo: Option<Flag>,
    #[schema(schema_with = schemas::choices)]
    best_of: Option<Count>,
    #[schema(schema_with = schemas::flag)]
    add_special_tokens: Option<Flag>,
}

/// Answers one prompt or several.
pub(crate) async fn completions(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Completion)?;
    let common = Common::read(&mut fields)?;
    let service = call.app.model(common.shared.model.as_deref(), call.door)?;
    let Delivery { stream, told } = common.delivery;
    let own: CompletionFields = part(&mut fields)?;
    let prompts = own.prompt.ok_or_else(|| Fault::field("prompt", "is missing"))?;
    let length = common.sampling.max_tokens.map_or(MAX_TOKENS, Count::small);
    let top = own.logprobs.map(|n| alternatives("logprobs", n)).transpose()?;
    let echo = own.echo.is_some_and(|Flag(echo)| echo);
    let (shown, logprob_token_ids) = part::<ShownFields>(&mut fields)?.shown(top, stream)?;
    // What is echoed is told of as the rest is; both may be asked for.
    let echoed = top.filter(|_| echo);
    let scores = shown.prompt.max(echoed);
    call.charge(common.tree_bytes)?;
    let base = common.request(call, service.edge());
    let add_special_tokens = own.add_special_tokens.is_none_or(|Flag(add)| add);
    if own.best_of.is_some_and(|best_of| best_of.smaller() != base.choices) {
        return Err(Fault::unsupported("best_of other than n"));
    }
    let base = GenerateRequest {
        max_new_tokens: Some(length),
        logprob_token_ids,
        scores,
        params: SampleParams { logprobs: top, ..base.params.clone() },
        deadline: deadline(call, service.edge(), stream),
        ..base
    };
    if echo && length == 0 && !stream && scores.is_none() {
        return only_echo(call, &service, prompts, add_special_tokens, shown).await;
    }
    // What all prompts share is checked once, before there is a request for each.
    service.check(&base)?;
    let is_echo = echo;
    let echo = match is_echo {
        true => echoes(&prompts, service.tokenizer(), base.choices)?,
        false => vec![String::new(); prompts.len()],
    };
    let prompts = prompts_of(prompts, add_special_tokens);
    let request = |prompt| GenerateRequest { prompt, ..base.clone() };
    let requests: Vec<_> = prompts.into_iter().map(request).collect();
    let count = requests.len();
    let generations =
        Generations::start(&service, requests, patience(call, service.edge())).await?;
    // What is repeated before the answers is held as long as they are.
    let share = call.share.take().filter(|_| is_echo);
    let header = Header::new(call, "cmpl", &service);
    let tokenizer = service.tokenizer().clone();
    let choices = usize::from(base.choices);
    let shows_prompt = shown.ids || scores.is_some();
    let prompts = (0..count).map(|i| generations.prompt(i)).filter(|_| shows_prompt).collect();
    let (echoed, door) = (echoed.map(usize::from), call.door);
    let writer = Writer { header, tokenizer, shown, door, choices, echo, echoed, prompts };
    let framing = stream.then(|| call.openai_framing(service.edge()));
    let costs = (0..count).map(|i| generations.usage_of(i)).collect();
    let text = Text { writer, told, costs, choices: HashMap::new(), _share: share };
    let mut response = stream::answer(call, generations, text, framing).await?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}

/// The prompts themselves, for who asks for no token.
async fn only_echo(
    call: &mut Call,
    service: &Service,
    prompts: Prompts,
    add_special_tokens: bool,
    shown: Shown,
) -> Result<Response<Body>, Fault> {
    let echo = echoes(&prompts, service.tokenizer(), 1)?;
    let _places = service.permits(u32::try_from(echo.len()).unwrap_or(u32::MAX))?;
    let mut cost = Usage::default();
    let mut choices = Vec::with_capacity(echo.len());
    for (prompt, text) in prompts_of(prompts, add_special_tokens).into_iter().zip(echo) {
        let tokens = service.tokenize(call.client(), prompt).await?;
        let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        cost.prompt_tokens = cost.prompt_tokens.saturating_add(count);
        let index = choices.len();
        choices.push(TextChoice {
            index,
            text,
            logprobs: None,
            finish_reason: Some(Finish::Length),
            prompt_logprobs: Some(None),
            token_ids: shown.ids.then(Vec::new),
            prompt_token_ids: Some(shown.ids.then_some(tokens)),
        });
    }
    let header = Header::new(call, "cmpl", service);
    let object = header.object(OBJECT, choices, Some(Some(cost.into())));
    whole::json(call, call::json_bytes(&object))
}

fn prompts_of(prompts: Prompts, add_special_tokens: bool) -> Vec<Prompt> {
    match prompts {
        Prompts::Texts(texts) => {
            texts.into_iter().map(|text| prompt_of(text, add_special_tokens)).collect()
        }
        Prompts::Tokens(lists) => lists.into_iter().map(Prompt::Tokens).collect(),
    }
}

/// What `echo` puts before each prompt's answers: the prompt as it was sent.
fn echoes(prompts: &Prompts, tokenizer: &Tokenizer, choices: u16) -> Result<Vec<String>, Fault> {
    copies::check("echo", prompts.bytes(), choices)?;
    Ok(match prompts {
        Prompts::Texts(texts) => texts.clone(),
        Prompts::Tokens(lists) => lists.iter().map(|ids| tokenizer.decode(ids, true)).collect(),
    })
}

/// Writes the objects of one answer.
#[derive(Debug)]
struct Writer {
    header: Header,
    tokenizer: Arc<Tokenizer>,
    shown: Shown,
    door: Door,
    /// Choices of each prompt.
    choices: usize,
    /// What comes before every completion of a prompt.
    echo: Vec<String>,
    /// Alternatives to each of its tokens, where they are told.
    echoed: Option<usize>,
    /// The tokens of each prompt, where an answer shows them.
    prompts: Vec<Vec<u32>>,
}

impl Writer {
    fn logprobs(
        &self,
        prompt: usize,
        scores: Option<&[PromptScore]>,
        tokens: &[&TokenInfo],
        offset: &mut usize,
    ) -> Option<TextLogprobs> {
        self.shown.top?;
        let mut entries = Vec::new();
        if let (Some(top), Some(scores)) = (self.echoed, scores) {
            let ids = self.prompts.get(prompt).map_or(&[][..], Vec::as_slice);
            entries.extend(Entry::of_prompt(ids, scores, top));
        }
        entries.extend(tokens.iter().map(|token| Entry::of(token)));
        Some(logprobs::completion(&self.tokenizer, self.shown, &entries, offset))
    }

    /// Ids of tokens, and of the prompt's with the first of them.
    fn ids(
        &self,
        prompt: usize,
        is_first: bool,
        tokens: &[&TokenInfo],
    ) -> (Option<Vec<u32>>, Option<Vec<u32>>) {
        if !self.shown.ids {
            return (None, None);
        }
        let prompt = self.prompts.get(prompt).filter(|_| is_first).cloned();
        (Some(tokens.iter().map(|token| token.id).collect()), prompt)
    }
}

/// An answer; a stream is of chunks, and `[DONE]` ends it unless it failed.
#[derive(Debug)]
struct Text {
    writer: Writer,
    told: Told,
    /// What each prompt was known to cost at the beginning.
    costs: Vec<Usage>,
    /// What every choice that has begun has sent.
    choices: HashMap<usize, Sent>,
    /// The echo is held to the end.
    _share: Option<Share>,
}

/// What a choice has sent.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Characters of its tokens.
    offset: usize,
    tokens: u32,
}

impl Encode for Text {
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Bytes {
        let writer = &self.writer;
        let choice = |(index, choice): (usize, &Completed)| {
            let tokens: Vec<&TokenInfo> = choice.tokens.iter().map(|(token, _)| token).collect();
            let (prompt, scores) = (index / writer.choices, choice.scores.as_deref());
            let (token_ids, prompt_token_ids) = writer.ids(prompt, true, &tokens);
            let shown = writer.shown.prompt.zip(scores);
            TextChoice {
                index,
                text: format!("{}{}", writer.echo[prompt], choice.text),
                logprobs: writer.logprobs(prompt, scores, &tokens, &mut 0),
                finish_reason: Some((&choice.finish).into()),
                prompt_logprobs: Some(
                    shown.map(|(top, scores)| {
                        logprobs::prompt(&writer.tokenizer, scores, top.into())
                    }),
                ),
                token_ids,
                prompt_token_ids: Some(prompt_token_ids),
            }
        };
        let choices = prompts.iter().flatten().enumerate().map(choice).collect();
        call::json_bytes(&writer.header.object(OBJECT, choices, Some(Some(cost.into()))))
    }

    fn delta(&mut self, prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        let writer = &self.writer;
        let fault = delta.finish.as_ref().and_then(|finish| fault_of(finish, true));
        let finish = delta.finish.as_ref().filter(|_| fault.is_none()).map(Finish::from);
        let tokens: Vec<&TokenInfo> = delta.token.iter().collect();
        let index = prompt * writer.choices + usize::from(delta.choice);
        let mut text = delta.text;
        let mut is_first = false;
        let sent = self.choices.entry(index).or_insert_with(|| {
            text.insert_str(0, &writer.echo[prompt]);
            is_first = true;
            Sent::default()
        });
        sent.tokens += u32::from(delta.token.is_some());
        let scores = delta.scores.as_deref();
        let logprobs = writer.logprobs(prompt, scores, &tokens, &mut sent.offset);
        let so_far = sent.tokens;
        let shows_ids = writer.shown.ids && (is_first || !tokens.is_empty());
        if !text.is_empty() || finish.is_some() || logprobs.is_some() || shows_ids {
            let (token_ids, prompt_token_ids) = writer.ids(prompt, is_first, &tokens);
            let choice = TextChoice {
                index,
                text,
                logprobs,
                finish_reason: finish,
                prompt_logprobs: None,
                token_ids,
                prompt_token_ids: prompt_token_ids.map(Some),
            };
            let cost = self.costs.get(prompt).copied().unwrap_or_default();
            let usage = self.told.usage(Usage { completion_tokens: so_far, ..cost });
            out.add(&writer.header.object(OBJECT, vec![choice], usage));
        }
        let Some(fault) = fault else { return ControlFlow::Continue(()) };
        out.add(&fault.body(Schema::OpenAi, self.writer.door));
        ControlFlow::Break(())
    }

    fn end(&mut self, cost: Usage, out: &mut Frames) {
        let cost = (self.told != Told::Never).then_some(cost);
        self.writer.header.done::<TextChoice>(OBJECT, cost, out);
    }
}
