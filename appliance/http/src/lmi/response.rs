//! Answers in LMI's schema: one JSON value, JSON lines, or server-sent events.
//!
//! Next: `../openai/`.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use gimbal_engine::{Completed, Delta, FinishReason, TokenInfo, Usage};
use gimbal_text::Tokenizer;

use crate::budget::Share;
use crate::call;
use crate::fault::{Door, Fault, Schema};
use crate::framing::Frames;
use crate::generations::fault_of;
use crate::lmi::shapes::{
    LineDetails, LineToken, LmiAnswer, LmiDetails, LmiLine, LmiSequence, LmiToken, NoToken,
};
use crate::lmi::shown::{Asked, Shown};
use crate::stream::Encode;

/// Writes answers as the parameters ask.
#[derive(Debug)]
pub(crate) struct Writer {
    tokenizer: Arc<Tokenizer>,
    shown: Shown,
}

impl Writer {
    pub(crate) fn new(tokenizer: &Arc<Tokenizer>, shown: Shown) -> Self {
        Self { tokenizer: Arc::clone(tokenizer), shown }
    }

    /// A whole answer to one input.
    fn whole<'a>(&'a self, asked: &'a Asked, choices: &'a [Completed]) -> Option<LmiAnswer<'a>> {
        let (first, others) = choices.split_first()?;
        let many = !others.is_empty();
        let details = (self.shown.details || self.shown.prefill || many).then(|| {
            let sequence = |choice: &'a Completed| LmiSequence {
                generated_text: self.full(&asked.text, &choice.text),
                details: self.details(asked, choice),
            };
            LmiDetails {
                inputs: Some(asked.text.as_str()),
                best_of_sequences: many.then(|| others.iter().map(sequence).collect()),
                ..self.details(asked, first)
            }
        });
        Some(LmiAnswer { generated_text: self.full(&asked.text, &first.text), details })
    }

    fn full(&self, input: &str, text: &str) -> String {
        if self.shown.full_text { format!("{input}{text}") } else { text.to_owned() }
    }

    fn details<'a>(&'a self, asked: &'a Asked, choice: &'a Completed) -> LmiDetails<'a> {
        // The prompt's own log probabilities are not computed.
        let prefill = asked.prompt.iter().filter(|_| self.shown.prefill);
        let tokens = choice.tokens.iter().map(|(token, _)| token);
        let shown = |token: &'a TokenInfo| self.token(token, self.text(token.id).into());
        LmiDetails {
            finish_reason: choice.finish.name(),
            generated_tokens: choice.tokens.len(),
            seed: asked.seed,
            prefill: prefill.map(|id| self.entry(*id, self.text(*id).into(), None)).collect(),
            tokens: tokens.clone().map(shown).collect(),
            top_tokens: (self.shown.top > 0).then(|| tokens.map(|t| self.top(t)).collect()),
            inputs: None,
            best_of_sequences: None,
        }
    }

    fn top(&self, token: &TokenInfo) -> Vec<LmiToken<'static>> {
        let entry =
            |(id, logprob): &(u32, f32)| self.entry(*id, self.text(*id).into(), Some(*logprob));
        token.top.iter().map(entry).collect()
    }

    fn token<'a>(&self, token: &TokenInfo, text: Cow<'a, str>) -> LmiToken<'a> {
        let special_token = token.special.then_some(true);
        LmiToken { special_token, ..self.entry(token.id, text, Some(token.logprob)) }
    }

    fn entry<'a>(&self, id: u32, text: Cow<'a, str>, logprob: Option<f32>) -> LmiToken<'a> {
        let logprob = logprob.map(number);
        let special = self.shown.tgi.then(|| self.tokenizer.is_control(id));
        LmiToken { id, text, logprob, log_prob: logprob, special, special_token: None }
    }

    fn text(&self, id: u32) -> String {
        self.tokenizer.decode(&[id], false)
    }
}

/// An answer; a stream has a line for each token, and the last line of a choice adds its whole text.
#[derive(Debug)]
pub(crate) struct Answer {
    writer: Writer,
    asked: Vec<Asked>,
    /// A whole answer is a list, though there be one input only.
    is_list: bool,
    text: Vec<String>,
    tokens: Vec<u32>,
    /// Tokens of all choices.
    count: u32,
    /// The inputs are held to the end.
    _share: Option<Share>,
}

impl Answer {
    pub(crate) fn new(
        writer: Writer,
        asked: Vec<Asked>,
        is_list: bool,
        share: Option<Share>,
    ) -> Self {
        let (text, tokens) = (Vec::new(), Vec::new());
        Self { writer, asked, is_list, text, tokens, count: 0, _share: share }
    }
}

impl Encode for Answer {
    fn whole(&self, prompts: &[Vec<Completed>], _: Usage) -> Bytes {
        let answers = self.asked.iter().zip(prompts);
        let mut answers = answers.map(|(asked, choices)| self.writer.whole(asked, choices));
        match self.is_list {
            true => call::json_bytes(&answers.collect::<Vec<_>>()),
            false => call::json_bytes(&answers.next().flatten()),
        }
    }

    fn delta(&mut self, prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        let choice = usize::from(delta.choice);
        if self.text.len() <= choice {
            self.text.resize(choice + 1, String::new());
            self.tokens.resize(choice + 1, 0);
        }
        self.text[choice].push_str(&delta.text);
        let token = delta.token.as_ref();
        self.tokens[choice] += u32::from(token.is_some());
        self.count += 1;
        let tgi = self.writer.shown.tgi;
        let fault = delta.finish.as_ref().and_then(|finish| fault_of(finish, true));
        if let (Some(fault), true) = (&fault, tgi) {
            out.add(&fault.body(Schema::Tgi, Door::Invocations));
            return ControlFlow::Break(());
        }
        let mut line = LmiLine {
            index: if tgi { self.count } else { delta.choice.into() },
            token: match token {
                // Text held back by an unfinished character or a possible stop string comes with the
                // token that releases it, so the texts of all lines are the whole text.
                Some(token) => {
                    LineToken::Token(self.writer.token(token, delta.text.as_str().into()))
                }
                None => LineToken::None(NoToken::new(&delta.text)),
            },
            generated_text: None,
            details: None,
            top_tokens: token.filter(|_| self.writer.shown.top > 0).map(|t| self.writer.top(t)),
            code: None,
            error: None,
        };
        if let Some(finish) = &delta.finish {
            self.finish(&self.asked[prompt], choice, (finish, fault), &mut line);
        }
        out.add(&line);
        ControlFlow::Continue(())
    }
}

impl Answer {
    fn finish<'a>(
        &self,
        asked: &'a Asked,
        choice: usize,
        (finish, fault): (&FinishReason, Option<Fault>),
        line: &mut LmiLine<'a>,
    ) {
        line.generated_text = Some(self.writer.full(&asked.text, &self.text[choice]));
        line.details = Some(LineDetails {
            finish_reason: if fault.is_some() { "error" } else { finish.name() },
            seed: asked.seed,
            generated_tokens: self.tokens[choice],
            input_length: asked.prompt.len(),
            inputs: self.writer.shown.details.then_some(asked.text.as_str()),
        });
        if let Some(fault) = fault {
            line.code = Some(fault.status(Door::Invocations).as_u16());
            line.error = Some(fault.message);
        }
    }
}

/// JSON has no infinity; a probability of zero is told as the smallest log there is.
pub(crate) fn number(log_prob: f32) -> f32 {
    log_prob.clamp(-9999.0, 0.0)
}
