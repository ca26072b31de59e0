//! Answers in LMI's schema: one JSON value, JSON lines, or server-sent events.
//!
//! Next: `../openai/`.

use std::ops::ControlFlow;
use std::sync::Arc;

use gimbal_engine::{Completed, Delta, FinishReason, TokenInfo};
use gimbal_text::Tokenizer;
use serde_json::{Map, Value, json};

use crate::fault::Door;
use crate::generations::fault_of;
use crate::lmi::request::Shown;
use crate::stream::{EVENT_STREAM, Encode};

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    JsonLines,
    Sse,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonlines",
            Self::Sse => EVENT_STREAM,
        }
    }

    /// LMI writes `data:` without a space.
    fn frame(self, value: &Value, out: &mut String) {
        match self {
            Self::JsonLines => out.push_str(&format!("{value}\n")),
            Self::Sse => out.push_str(&format!("data:{value}\n\n")),
        }
    }
}

/// Writes answers as the parameters ask.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    tokenizer: Arc<Tokenizer>,
    shown: Shown,
}

impl Answer {
    pub(crate) fn new(tokenizer: &Arc<Tokenizer>, shown: Shown) -> Self {
        Self { tokenizer: Arc::clone(tokenizer), shown }
    }

    /// A whole answer to one input.
    pub(crate) fn whole(&self, input: &str, prompt: &[u32], choices: &[Completed]) -> Value {
        let Some((first, others)) = choices.split_first() else { return Value::Null };
        let mut answer = Map::new();
        answer.insert("generated_text".into(), self.full(input, &first.text).into());
        let many = !others.is_empty();
        if self.shown.details || self.shown.prefill || many {
            let mut details = self.details(first);
            details.insert("inputs".into(), input.into());
            if self.shown.prefill {
                // The prompt's own log probabilities are not computed.
                let entry = |id: &u32| json!({"id": id, "text": self.text(*id), "log_prob": null});
                details.insert("prefill".into(), prompt.iter().map(entry).collect());
            }
            if many {
                let sequence = |choice: &Completed| {
                    let mut details = self.details(choice);
                    details.insert("generated_text".into(), self.full(input, &choice.text).into());
                    Value::Object(details)
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

    fn details(&self, choice: &Completed) -> Map<String, Value> {
        let mut details = Map::new();
        details.insert("finish_reason".into(), choice.finish.name().into());
        details.insert("generated_tokens".into(), choice.tokens.len().into());
        let tokens = choice.tokens.iter().map(|(token, _)| self.token(token, &self.text(token.id)));
        details.insert("tokens".into(), tokens.collect());
        if self.shown.top > 0 {
            let top = choice.tokens.iter().map(|(token, _)| self.top(token)).collect();
            details.insert("top_tokens".into(), top);
        }
        details
    }

    fn top(&self, token: &TokenInfo) -> Value {
        let entry = |(id, log_prob): &(u32, f32)| {
            let (text, log_prob) = (self.text(*id), number(*log_prob));
            json!({"id": id, "text": text, "log_prob": log_prob})
        };
        token.top.iter().map(entry).collect()
    }

    fn token(&self, token: &TokenInfo, text: &str) -> Value {
        let mut entry = json!({"id": token.id, "text": text, "log_prob": number(token.logprob)});
        if token.special {
            entry["special_token"] = true.into();
        }
        entry
    }

    fn text(&self, id: u32) -> String {
        self.tokenizer.decode(&[id], false)
    }
}

/// A stream of tokens, one line each; the last line adds the whole text.
#[derive(Debug)]
pub(crate) struct Lines {
    answer: Answer,
    format: Format,
    input: String,
    text: Vec<String>,
    tokens: Vec<u32>,
}

impl Lines {
    pub(crate) fn new(answer: Answer, format: Format, input: String) -> Self {
        Self { answer, format, input, text: Vec::new(), tokens: Vec::new() }
    }
}

impl Encode for Lines {
    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut String) -> ControlFlow<()> {
        let index = usize::from(delta.choice);
        if self.text.len() <= index {
            self.text.resize(index + 1, String::new());
            self.tokens.resize(index + 1, 0);
        }
        self.text[index].push_str(&delta.text);
        let token = delta.token.as_ref();
        self.tokens[index] += u32::from(token.is_some());
        let mut line = match token {
            // Text held back by an unfinished character or a possible stop string comes with the
            // token that releases it, so the texts of all lines are the whole text.
            Some(token) => json!({"token": self.answer.token(token, &delta.text)}),
            None => json!({"token": no_token(&delta.text)}),
        };
        if let (Some(token), true) = (token, self.answer.shown.top > 0) {
            line["top_tokens"] = self.answer.top(token);
        }
        if delta.choice > 0 {
            line["index"] = delta.choice.into();
        }
        if let Some(finish) = &delta.finish {
            self.finish(index, finish, &mut line);
        }
        self.format.frame(&line, out);
        ControlFlow::Continue(())
    }
}

impl Lines {
    fn finish(&self, index: usize, finish: &FinishReason, line: &mut Value) {
        line["generated_text"] = self.answer.full(&self.input, &self.text[index]).into();
        let reason = if fault_of(finish, true).is_some() { "error" } else { finish.name() };
        let mut details = json!({"finish_reason": reason, "generated_tokens": self.tokens[index]});
        if self.answer.shown.details {
            details["inputs"] = self.input.clone().into();
        }
        line["details"] = details;
        if let Some(fault) = fault_of(finish, true) {
            line["code"] = fault.status(Door::Invocations).as_u16().into();
            line["error"] = fault.message.into();
        }
    }
}

/// What LMI writes where a line has no token.
fn no_token(text: &str) -> Value {
    json!({"id": -1, "text": text, "log_prob": -1, "special_token": true})
}

/// JSON has no infinity; a probability of zero is told as the smallest log there is.
pub(crate) fn number(log_prob: f32) -> f32 {
    log_prob.clamp(-9999.0, 0.0)
}
