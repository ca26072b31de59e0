//! Answers in LMI's schema: one JSON value, JSON lines, or server-sent events.
//!
//! Next: `../openai/`.

use std::ops::ControlFlow;
use std::sync::Arc;

use gimbal_engine::{Completed, Delta, FinishReason, TokenInfo, Usage};
use gimbal_text::Tokenizer;
use serde_json::{Map, Value, json};

use crate::budget::Share;
use crate::fault::{Door, Fault, Schema};
use crate::framing::Frames;
use crate::generations::fault_of;
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
    fn whole(&self, asked: &Asked, choices: &[Completed]) -> Value {
        let Some((first, others)) = choices.split_first() else { return Value::Null };
        let mut answer = Map::new();
        answer.insert("generated_text".into(), self.full(&asked.text, &first.text).into());
        let many = !others.is_empty();
        if self.shown.details || self.shown.prefill || many {
            let mut details = self.details(asked, first);
            details.insert("inputs".into(), asked.text.as_str().into());
            if many {
                let sequence = |choice: &Completed| {
                    let mut sequence = Map::new();
                    let text = self.full(&asked.text, &choice.text);
                    sequence.insert("generated_text".into(), text.into());
                    sequence.extend(self.details(asked, choice));
                    Value::Object(sequence)
                };
                let sequences = others.iter().map(sequence).collect();
                details.insert("best_of_sequences".into(), sequences);
            }
            answer.insert("details".into(), Value::Object(details));
        }
        Value::Object(answer)
    }

    fn full(&self, input: &str, text: &str) -> String {
        if self.shown.full_text { format!("{input}{text}") } else { text.to_owned() }
    }

    /// Members in LMI's order; what only we have comes after.
    fn details(&self, asked: &Asked, choice: &Completed) -> Map<String, Value> {
        let mut details = Map::new();
        details.insert("finish_reason".into(), choice.finish.name().into());
        details.insert("generated_tokens".into(), choice.tokens.len().into());
        details.insert("seed".into(), asked.seed.into());
        // The prompt's own log probabilities are not computed.
        let prefill = asked.prompt.iter().filter(|_| self.shown.prefill);
        let prefill = prefill.map(|id| self.entry(*id, &self.text(*id), None));
        details.insert("prefill".into(), prefill.collect());
        let tokens = choice.tokens.iter().map(|(token, _)| self.token(token, &self.text(token.id)));
        details.insert("tokens".into(), tokens.collect());
        if self.shown.top > 0 {
            let top = choice.tokens.iter().map(|(token, _)| self.top(token)).collect();
            details.insert("top_tokens".into(), top);
        }
        details
    }

    fn top(&self, token: &TokenInfo) -> Value {
        let entry = |(id, logprob): &(u32, f32)| self.entry(*id, &self.text(*id), Some(*logprob));
        token.top.iter().map(entry).collect()
    }

    fn token(&self, token: &TokenInfo, text: &str) -> Value {
        let mut entry = self.entry(token.id, text, Some(token.logprob));
        if token.special {
            entry["special_token"] = true.into();
        }
        entry
    }

    /// `logprob` is its name since v17 of LMI, and TGI's; `log_prob` was it before.
    fn entry(&self, id: u32, text: &str, logprob: Option<f32>) -> Value {
        let logprob = logprob.map(number);
        let mut entry = json!({"id": id, "text": text, "logprob": logprob, "log_prob": logprob});
        if self.shown.tgi {
            entry["special"] = self.tokenizer.is_control(id).into();
        }
        entry
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
    fn whole(&self, prompts: &[Vec<Completed>], _: Usage) -> Value {
        let answers = self.asked.iter().zip(prompts);
        let mut answers = answers.map(|(asked, choices)| self.writer.whole(asked, choices));
        match self.is_list {
            true => answers.collect(),
            false => answers.next().unwrap_or_default(),
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
        let mut line = json!({
            // TGI counts tokens, LMI choices.
            "index": if tgi { self.count } else { delta.choice.into() },
            "token": match token {
                // Text held back by an unfinished character or a possible stop string comes with the
                // token that releases it, so the texts of all lines are the whole text.
                Some(token) => self.writer.token(token, &delta.text),
                None => no_token(&delta.text),
            },
            "generated_text": null,
            "details": null,
        });
        if let (Some(token), true) = (token, self.writer.shown.top > 0) {
            line["top_tokens"] = self.writer.top(token);
        }
        if let Some(finish) = &delta.finish {
            self.finish(&self.asked[prompt], choice, (finish, fault), &mut line);
        }
        out.add(&line);
        ControlFlow::Continue(())
    }
}

impl Answer {
    fn finish(
        &self,
        asked: &Asked,
        choice: usize,
        (finish, fault): (&FinishReason, Option<Fault>),
        line: &mut Value,
    ) {
        line["generated_text"] = self.writer.full(&asked.text, &self.text[choice]).into();
        let reason = if fault.is_some() { "error" } else { finish.name() };
        let mut details = json!({
            "finish_reason": reason,
            "seed": asked.seed,
            "generated_tokens": self.tokens[choice],
            "input_length": asked.prompt.len(),
        });
        if self.writer.shown.details {
            details["inputs"] = asked.text.as_str().into();
        }
        line["details"] = details;
        if let Some(fault) = fault {
            line["code"] = fault.status(Door::Invocations).as_u16().into();
            line["error"] = fault.message.into();
        }
    }
}

/// What LMI writes where a line has no token.
fn no_token(text: &str) -> Value {
    json!({"id": -1, "text": text, "logprob": -1, "log_prob": -1, "special_token": true})
}

/// JSON has no infinity; a probability of zero is told as the smallest log there is.
pub(crate) fn number(log_prob: f32) -> f32 {
    log_prob.clamp(-9999.0, 0.0)
}
