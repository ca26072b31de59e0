//! An answer in Anthropic's words: a message, or the events that make one.
//!
//! Next: `../responses/`.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use gimbal_engine::{Completed, Delta, FinishReason, Usage};
use serde_json::{Value, json};

use super::shapes::{Content, Message, MessageUsage, StopReason};
use crate::call;
use crate::fault::{Door, Schema};
use crate::framing::Frames;
use crate::generations::fault_of;
use crate::openai::{Block, Blocks, Change, Reading};
use crate::stream::Encode;

/// Writes one answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) model: String,
    /// The request's own, for an error.
    pub(super) request_id: Option<String>,
    /// Texts that end it. The engine leaves the one it found in the text; here it is taken out.
    pub(super) stops: Arc<[String]>,
    pub(super) reading: Option<Reading>,
    /// What was known to be spent at the beginning.
    pub(super) cost: Usage,
    pub(super) blocks: Blocks,
    pub(super) has_begun: bool,
}

impl Answer {
    fn message<'a>(
        &'a self,
        blocks: &'a Blocks,
        stop: (Option<StopReason>, Option<&'a str>),
        cost: Usage,
    ) -> Message<'a> {
        Message {
            id: &self.id,
            kind: "message",
            role: "assistant",
            model: &self.model,
            content: blocks.all.iter().map(Content::from).collect(),
            stop_reason: stop.0,
            stop_sequence: stop.1,
            usage: MessageUsage::new(cost, blocks.thought_tokens),
        }
    }

    /// The stop string at the end of a text: of several, the longest was found.
    fn found(&self, finish: Option<&FinishReason>, text: &str) -> Option<&str> {
        let ended = matches!(finish, Some(FinishReason::StopSequence));
        let stops = self.stops.iter().filter(|stop| ended && text.ends_with(stop.as_str()));
        stops.map(String::as_str).max_by_key(|stop| stop.len())
    }

    fn begin(&mut self, out: &mut Frames) {
        let message = self.message(&self.blocks, (None, None), self.cost);
        event(out, "message_start", json!({ "message": message }));
        event(out, "ping", json!({}));
        self.has_begun = true;
    }

    fn tell(&self, (index, change): (usize, Change), out: &mut Frames) {
        let Some(block) = self.blocks.all.get(index) else { return };
        let (name, told) = match change {
            Change::Begins => {
                let block = Content::from(block).emptied();
                ("content_block_start", json!({ "index": index, "content_block": block }))
            }
            Change::Grows(more, _) => {
                let delta = match block {
                    Block::Thought(_) => json!({ "type": "thinking_delta", "thinking": more }),
                    Block::Text(_) => json!({ "type": "text_delta", "text": more }),
                    Block::Call { .. } => {
                        json!({ "type": "input_json_delta", "partial_json": more })
                    }
                };
                ("content_block_delta", json!({ "index": index, "delta": delta }))
            }
            Change::Ends => ("content_block_stop", json!({ "index": index })),
        };
        event(out, name, told);
    }
}

/// Why an answer ends.
fn stop_reason(finish: &FinishReason, found: Option<&str>, has_call: bool) -> StopReason {
    match finish {
        FinishReason::Length => StopReason::MaxTokens,
        _ if found.is_some() => StopReason::StopSequence,
        _ if has_call => StopReason::ToolUse,
        _ => StopReason::EndTurn,
    }
}

/// Adds an event, which repeats its name.
fn event(out: &mut Frames, name: &str, mut told: Value) {
    told["type"] = name.into();
    out.named(name, &told);
}

impl Encode for Answer {
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Bytes {
        let Some(choice) = prompts.iter().flatten().next() else { return Bytes::new() };
        let found = self.found(Some(&choice.finish), &choice.text);
        let text = found.and_then(|stop| choice.text.strip_suffix(stop)).unwrap_or(&choice.text);
        let blocks = Blocks::whole(self.reading.as_ref(), text, &choice.tokens, |_, _| {});
        let reason = stop_reason(&choice.finish, found, blocks.has_call());
        call::json_bytes(&self.message(&blocks, (Some(reason), found), cost))
    }

    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        if !self.has_begun {
            self.begin(out);
        }
        if let Some(fault) = delta.finish.as_ref().and_then(|finish| fault_of(finish, true)) {
            let fault = fault.of_request(self.request_id.as_deref());
            out.named("error", &fault.body(Schema::Anthropic, Door::V1));
            return ControlFlow::Break(());
        }
        let found = self.found(delta.finish.as_ref(), &delta.text).map(str::to_owned);
        let text = found.as_deref().and_then(|stop| delta.text.strip_suffix(stop));
        let mut changes = self.blocks.push(text.unwrap_or(&delta.text), delta.token.as_ref());
        self.cost.completion_tokens += u32::from(delta.token.is_some());
        if delta.finish.is_some() {
            changes.extend(self.blocks.finish());
        }
        changes.into_iter().for_each(|change| self.tell(change, out));
        if let Some(finish) = &delta.finish {
            let reason = stop_reason(finish, found.as_deref(), self.blocks.has_call());
            let usage = MessageUsage::new(self.cost, self.blocks.thought_tokens);
            let delta = json!({ "stop_reason": reason, "stop_sequence": found });
            event(out, "message_delta", json!({ "delta": delta, "usage": usage }));
            event(out, "message_stop", json!({}));
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use gimbal_engine::TokenInfo;
    use gimbal_text::ReasoningFormat;

    use super::*;
    use crate::framing::Framing;

    fn answer(reading: Option<&Reading>) -> Answer {
        Answer {
            id: "msg_1".to_owned(),
            model: "m".to_owned(),
            request_id: Some("req-7".to_owned()),
            stops: ["D".to_owned(), "END".to_owned()].into(),
            reading: reading.cloned(),
            cost: Usage { prompt_tokens: 9, cached_tokens: 4, ..Usage::default() },
            blocks: Blocks::new(reading),
            has_begun: false,
        }
    }

    /// The events of an answer that comes in such pieces, a token each.
    fn streamed(reading: Option<&Reading>, pieces: &[&str], finish: &FinishReason) -> Vec<Value> {
        let (mut answer, mut out) = (answer(reading), Frames::new(Framing::Events));
        for (i, piece) in pieces.iter().enumerate() {
            let delta = Delta {
                choice: 0,
                text: (*piece).to_owned(),
                token: Some(token()),
                finish: Some(finish.clone()).filter(|_| i + 1 == pieces.len()),
                scores: None,
            };
            let _ = answer.delta(0, delta, &mut out);
        }
        let text = String::from_utf8(out.bytes).expect("text");
        let mut events = Vec::new();
        for event in text.split_terminator("\n\n") {
            let (name, data) = event.split_once('\n').expect("two lines");
            let data = data.strip_prefix("data: ").expect("data");
            let data: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(name, format!("event: {}", data["type"].as_str().expect("a type")));
            events.push(data);
        }
        events
    }

    fn token() -> TokenInfo {
        TokenInfo { id: 7, logprob: 0.0, top: Vec::new(), special: false }
    }

    fn whole(reading: Option<&Reading>, pieces: &[&str], finish: &FinishReason) -> Value {
        let choice = Completed {
            text: pieces.concat(),
            tokens: pieces.iter().map(|piece| (token(), (*piece).to_owned())).collect(),
            finish: finish.clone(),
            scores: None,
        };
        let tokens = u32::try_from(pieces.len()).expect("few");
        let cost = Usage {
            prompt_tokens: 9,
            completion_tokens: tokens,
            cached_tokens: 4,
            ..Usage::default()
        };
        serde_json::from_slice(&answer(reading).whole(&[vec![choice]], cost)).expect("JSON")
    }

    /// What a client makes of events.
    fn joined(events: &[Value]) -> Value {
        let mut message = events[0]["message"].clone();
        for event in events {
            let at = usize::try_from(event["index"].as_u64().unwrap_or(0)).expect("small");
            match event["type"].as_str().expect("a type") {
                "content_block_start" => {
                    let content = message["content"].as_array_mut().expect("a list");
                    assert_eq!(content.len(), at);
                    content.push(event["content_block"].clone());
                }
                "content_block_delta" => {
                    let name = match event["delta"]["type"].as_str().expect("a type") {
                        "text_delta" => "text",
                        "thinking_delta" => "thinking",
                        other => panic!("{other}"),
                    };
                    let more = event["delta"][name].as_str().expect("a text");
                    let block = &mut message["content"][at][name];
                    *block = format!("{}{more}", block.as_str().expect("a text")).into();
                }
                "message_delta" => {
                    message["stop_reason"] = event["delta"]["stop_reason"].clone();
                    message["stop_sequence"] = event["delta"]["stop_sequence"].clone();
                    message["usage"] = event["usage"].clone();
                }
                _ => {}
            }
        }
        message
    }

    #[test]
    fn a_stream_is_the_whole_answer_in_pieces() {
        let think = Reading::inside(ReasoningFormat::Think);
        let stop = FinishReason::StopSequence;
        for (reading, pieces, finish, reason, sequence, thought) in [
            (None, &["Hi", " you"][..], FinishReason::EosToken, "end_turn", json!(null), 0),
            (None, &[""], FinishReason::EosToken, "end_turn", json!(null), 0),
            (None, &["Hi"], FinishReason::Length, "max_tokens", json!(null), 0),
            (None, &["a ", "END"], stop.clone(), "stop_sequence", json!("END"), 0),
            (None, &["a ", "ED"], stop, "stop_sequence", json!("D"), 0),
            (None, &["a END"], FinishReason::Length, "max_tokens", json!(null), 0),
            (
                Some(&think),
                &["So", ".", "</think>", "Yes"],
                FinishReason::EosToken,
                "end_turn",
                json!(null),
                2,
            ),
        ] {
            let whole = whole(reading, pieces, &finish);
            let events = streamed(reading, pieces, &finish);
            assert_eq!(joined(&events), whole, "{pieces:?}");
            assert_eq!(events.last().map(|event| &event["type"]), Some(&json!("message_stop")));
            assert_eq!(
                (&whole["stop_reason"], &whole["stop_sequence"]),
                (&json!(reason), &sequence)
            );
            let usage = &whole["usage"];
            assert_eq!(usage["output_tokens_details"]["thinking_tokens"], thought);
            assert_eq!(
                (&usage["input_tokens"], &usage["cache_read_input_tokens"]),
                (&json!(5), &json!(4))
            );
        }
    }

    #[test]
    fn what_fails_on_its_way_ends_with_an_error() {
        let failed = FinishReason::Error("lost".to_owned());
        let events = streamed(None, &["Hi", ""], &failed);
        let last = events.last().expect("events");
        let error = json!({ "type": "api_error", "message": "lost" });
        assert_eq!(last, &json!({ "type": "error", "error": error, "request_id": "req-7" }));
    }
}
