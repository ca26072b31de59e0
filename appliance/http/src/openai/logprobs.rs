//! Log probabilities in the shapes of OpenAI and vLLM, and what else an answer shows of its tokens.
//!
//! Next: `tokens.rs`.

use std::sync::Arc;

use gimbal_engine::{PromptScore, TokenInfo};
use gimbal_text::Tokenizer;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::request::alternatives;
use super::shapes::{
    ChatEntry, ChatLogprobs, ChatToken, PromptLogprobs, PromptToken, TextLogprobs, Top,
};
use crate::fault::Fault;
use crate::lmi::number;
use crate::schemas;
use crate::typed::{Count, Flag, Ids};

/// Tokens whose log probabilities may be asked for, as vLLM bounds them.
const LOGPROB_IDS_MAX: usize = 128;

/// What an answer shows of tokens beside their text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Alternatives to each token; `None` shows no log probabilities.
    pub(super) top: Option<u8>,
    /// Alternatives to each token of the prompt.
    pub(super) prompt: Option<u8>,
    /// The ids of all tokens.
    pub(super) ids: bool,
    /// Tokens are named by their ids: texts may be parts of characters.
    by_id: bool,
}

/// vLLM's fields of them.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ShownFields {
    #[schema(schema_with = schemas::alternatives)]
    prompt_logprobs: Option<Count>,
    #[schema(schema_with = schemas::flag)]
    return_token_ids: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    return_tokens_as_token_ids: Option<Flag>,
    #[schema(schema_with = schemas::asked_tokens)]
    logprob_token_ids: Option<Ids<LOGPROB_IDS_MAX>>,
}

impl ShownFields {
    /// What is shown, beside so many alternatives; and the tokens to report at each position instead
    /// of the best.
    pub(super) fn shown(self, top: Option<u8>, stream: bool) -> Result<(Shown, Arc<[u32]>), Fault> {
        let prompt = self.prompt_logprobs;
        let prompt = prompt.map(|n| alternatives("prompt_logprobs", n)).transpose()?;
        if stream && prompt.is_some() {
            let what = "not with stream: true; ask for a whole answer";
            return Err(Fault::field("prompt_logprobs", what));
        }
        let is = |flag: Option<Flag>| flag.is_some_and(|Flag(flag)| flag);
        let (ids, by_id) = (is(self.return_token_ids), is(self.return_tokens_as_token_ids));
        let asked = self.logprob_token_ids.map(|Ids(ids)| ids);
        let asked = match asked {
            Some(ids) if ids.is_empty() => {
                return Err(Fault::field("logprob_token_ids", "must not be empty"));
            }
            Some(_) if top.is_none() => {
                return Err(Fault::field("logprob_token_ids", "needs logprobs"));
            }
            asked => asked.unwrap_or_default().into(),
        };
        Ok((Shown { top, prompt, ids, by_id }, asked))
    }
}

impl Shown {
    fn name(self, tokenizer: &Tokenizer, id: u32) -> String {
        if self.by_id { format!("token_id:{id}") } else { tokenizer.decode(&[id], false) }
    }
}

/// Chat's shape: one entry a token, with its bytes.
pub(super) fn chat<'a>(
    tokenizer: &'a Tokenizer,
    shown: Shown,
    has_ids: bool,
    tokens: impl Iterator<Item = &'a TokenInfo>,
) -> ChatLogprobs<'a> {
    let entry = |id: u32, logprob: f32| ChatEntry {
        token: shown.name(tokenizer, id),
        logprob: number(logprob),
        bytes: tokenizer.bytes(id),
    };
    let told = |token: &TokenInfo| {
        // Beside tokens that were asked for stands the one that was chosen.
        let own = (token.id, token.logprob);
        let own = Some(own).filter(|_| has_ids && token.top.iter().all(|(id, _)| *id != token.id));
        let all = own.iter().chain(&token.top);
        ChatToken {
            token: entry(token.id, token.logprob),
            top_logprobs: all.map(|(id, logprob)| entry(*id, *logprob)).collect(),
        }
    };
    ChatLogprobs { content: tokens.map(told).collect() }
}

/// Tokens with their log probabilities and so many alternatives, for a door of other words.
pub(crate) fn logprobs_of(tokenizer: &Tokenizer, top: u8, tokens: &[TokenInfo]) -> Vec<Value> {
    let shown = Shown { top: Some(top), prompt: None, ids: false, by_id: false };
    let told = chat(tokenizer, shown, false, tokens.iter());
    told.content.iter().map(|token| json!(token)).collect()
}

/// A token in completions' shape; a prompt's first one has no log probability.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    id: u32,
    told: Option<(f32, &'a [(u32, f32)])>,
}

impl<'a> Entry<'a> {
    /// A token that was generated.
    pub(super) fn of(token: &'a TokenInfo) -> Self {
        Self { id: token.id, told: Some((token.logprob, &token.top)) }
    }

    /// The tokens of a prompt, with so many alternatives.
    pub(super) fn of_prompt(
        prompt: &[u32],
        scores: &'a [PromptScore],
        top: usize,
    ) -> impl Iterator<Item = Self> {
        let of = move |score: &'a PromptScore| {
            let top = &score.top[..score.top.len().min(top)];
            Self { id: score.id, told: Some((score.logprob, top)) }
        };
        let first = prompt.first().map(|id| Self { id: *id, told: None });
        first.into_iter().chain(scores.iter().map(of))
    }
}

/// Completions' shape: parallel lists. `offset` counts the characters of the choice so far.
pub(super) fn completion(
    tokenizer: &Tokenizer,
    shown: Shown,
    tokens: &[Entry<'_>],
    offset: &mut usize,
) -> TextLogprobs {
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(*offset);
        *offset += tokenizer.decode(&[token.id], false).chars().count();
    }
    // The token itself is always among them, so there may be one more than was asked for.
    let top = |token: &Entry<'_>| {
        let (own, others) = token.told?;
        let mut top = Top::default();
        top.add(shown.name(tokenizer, token.id), number(own));
        for (id, logprob) in others {
            top.add(shown.name(tokenizer, *id), number(*logprob));
        }
        Some(top)
    };
    let logprob = |token: &Entry<'_>| token.told.map(|(own, _)| number(own));
    TextLogprobs {
        tokens: tokens.iter().map(|t| shown.name(tokenizer, t.id)).collect(),
        token_logprobs: tokens.iter().map(logprob).collect(),
        top_logprobs: tokens.iter().map(top).collect(),
        text_offset: offsets,
    }
}

/// vLLM's shape for a prompt: of each token but the first, itself and its alternatives by their ids.
pub(super) fn prompt(tokenizer: &Tokenizer, scores: &[PromptScore], top: usize) -> PromptLogprobs {
    let entry = |id: u32, logprob: f32, rank: u64| PromptToken {
        logprob: number(logprob),
        rank,
        decoded_token: tokenizer.decode(&[id], false),
    };
    let told = |score: &PromptScore| {
        let mut told = Top::default();
        told.add(score.id.to_string(), entry(score.id, score.logprob, score.rank.into()));
        for ((id, logprob), rank) in score.top.iter().take(top).zip(1..) {
            told.add(id.to_string(), entry(*id, *logprob, rank));
        }
        Some(told)
    };
    std::iter::once(None).chain(scores.iter().map(told)).collect()
}
