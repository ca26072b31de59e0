//! An answer of `/completion` in llama.cpp's words: an object, a list of them, or events.
//!
//! Next: `info.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gimbal_engine::{Completed, Delta, FinishReason, SampleParams, TokenInfo, Usage};
use gimbal_text::Tokenizer;

use super::shapes::{
    LlamaCompletion, LlamaEnd, LlamaProbabilities, LlamaSettings, LlamaTimings, LlamaToken,
    StopType,
};
use crate::call;
use crate::fault::{Door, Schema};
use crate::framing::Frames;
use crate::generations::fault_of;
use crate::lmi::number;
use crate::stream::Encode;

/// What the body asked for, as far as the answer repeats it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) stops: Arc<[String]>,
    pub(super) params: SampleParams,
    pub(super) seed: i64,
    pub(super) n_predict: i64,
    pub(super) top: Option<u8>,
    pub(super) has_tokens: bool,
    pub(super) is_list: bool,
}

/// Writes the answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) model: String,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) began: Instant,
    pub(super) prompts: Vec<String>,
    /// Tokens of each.
    pub(super) prompt_tokens: Vec<u32>,
    pub(super) asked: Asked,
    /// Tokens that a stream has told.
    pub(super) told: u32,
    /// Why a stream ended, and the stop string.
    pub(super) last: Option<(FinishReason, String)>,
    pub(super) has_new_line: bool,
}

impl Answer {
    /// The stop string at the end of a text: of several, the longest was found.
    fn found(&self, finish: Option<&FinishReason>, text: &str) -> &str {
        let ended = matches!(finish, Some(FinishReason::StopSequence));
        let stops = self.asked.stops.iter();
        let found = stops.filter(|stop| ended && text.ends_with(stop.as_str()));
        found.max_by_key(|stop| stop.len()).map_or("", String::as_str)
    }

    fn probabilities<'a>(
        &'a self,
        tokens: impl Iterator<Item = &'a TokenInfo>,
    ) -> Vec<LlamaProbabilities<'a>> {
        if self.asked.top.is_none() {
            return Vec::new();
        }
        let entry = |(id, logprob): (u32, f32)| LlamaToken {
            id,
            token: self.tokenizer.decode(&[id], false),
            bytes: self.tokenizer.bytes(id),
            logprob: number(logprob),
        };
        let told = |token: &TokenInfo| LlamaProbabilities {
            token: entry((token.id, token.logprob)),
            top_logprobs: token.top.iter().copied().map(entry).collect(),
        };
        tokens.map(told).collect()
    }

    fn end<'a>(
        &'a self,
        prompt: usize,
        (finish, stopping_word): (&FinishReason, &'a str),
        (cost, has_new_line): (Usage, bool),
    ) -> LlamaEnd<'a> {
        let stop_type = match finish {
            FinishReason::Length => StopType::Limit,
            _ if !stopping_word.is_empty() => StopType::Word,
            _ => StopType::Eos,
        };
        let Asked { stops, params, seed, n_predict, .. } = &self.asked;
        LlamaEnd {
            model: &self.model,
            generation_settings: LlamaSettings::of(params, *seed, stops, *n_predict),
            prompt: self.prompts.get(prompt).map_or("", String::as_str),
            has_new_line,
            truncated: false,
            stop_type,
            stopping_word,
            tokens_cached: cost.prompt_tokens.saturating_add(cost.completion_tokens),
            timings: LlamaTimings::of(cost, self.began.elapsed()),
        }
    }

    fn completed<'a>(
        &'a self,
        prompt: usize,
        choice: &'a Completed,
        all: Usage,
    ) -> LlamaCompletion<'a> {
        let stopping_word = self.found(Some(&choice.finish), &choice.text);
        let content = choice.text.strip_suffix(stopping_word).unwrap_or(&choice.text);
        let tokens = choice.tokens.iter().map(|(token, _)| token);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let evaluated = self.prompt_tokens.get(prompt).copied().unwrap_or(0);
        let predicted = count(choice.tokens.len());
        // Of several prompts each has its own counts; the times are those of all.
        let cost = match self.asked.is_list {
            true => Usage { prompt_tokens: evaluated, completion_tokens: predicted, ..all },
            false => all,
        };
        let end = (&choice.finish, stopping_word);
        LlamaCompletion {
            index: prompt,
            content,
            tokens: tokens.clone().map(|t| t.id).filter(|_| self.asked.has_tokens).collect(),
            id_slot: -1,
            stop: true,
            tokens_predicted: predicted,
            tokens_evaluated: evaluated,
            end: Some(self.end(prompt, end, (cost, content.contains('\n')))),
            completion_probabilities: self.probabilities(tokens),
        }
    }
}

impl Encode for Answer {
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Bytes {
        let all = prompts.iter().enumerate();
        let all = all.flat_map(|(i, choices)| choices.iter().map(move |choice| (i, choice)));
        let told = all.enumerate().map(|(index, (prompt, choice))| LlamaCompletion {
            index,
            ..self.completed(prompt, choice, cost)
        });
        let told: Vec<_> = told.collect();
        match told.as_slice() {
            [only] if !self.asked.is_list => call::json_bytes(only),
            all => call::json_bytes(&all),
        }
    }

    fn delta(&mut self, prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        if let Some(fault) = delta.finish.as_ref().and_then(|finish| fault_of(finish, true)) {
            out.add(&fault.body(Schema::OpenAi, Door::V1));
            return ControlFlow::Break(());
        }
        self.told += u32::from(delta.token.is_some());
        let found = self.found(delta.finish.as_ref(), &delta.text).to_owned();
        let content = delta.text.strip_suffix(found.as_str()).unwrap_or(&delta.text);
        self.has_new_line |= content.contains('\n');
        if let Some(finish) = delta.finish {
            self.last = Some((finish, found.clone()));
        }
        if content.is_empty() && delta.token.is_none() {
            return ControlFlow::Continue(());
        }
        let tokens = delta.token.iter();
        out.add(&LlamaCompletion {
            index: prompt,
            content,
            tokens: tokens.clone().map(|token| token.id).collect(),
            id_slot: -1,
            stop: false,
            tokens_predicted: self.told,
            tokens_evaluated: self.prompt_tokens.get(prompt).copied().unwrap_or(0),
            end: None,
            completion_probabilities: self.probabilities(tokens),
        });
        ControlFlow::Continue(())
    }

    fn end(&mut self, cost: Usage, out: &mut Frames) {
        let Some((finish, found)) = self.last.take() else { return };
        let end = Self::end(self, 0, (&finish, &found), (cost, self.has_new_line));
        out.add(&LlamaCompletion {
            index: 0,
            content: "",
            tokens: Vec::new(),
            id_slot: -1,
            stop: true,
            tokens_predicted: self.told,
            tokens_evaluated: cost.prompt_tokens,
            end: Some(end),
            completion_probabilities: Vec::new(),
        });
    }
}
