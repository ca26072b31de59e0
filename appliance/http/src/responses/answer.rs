//! An answer as a response: the object, or the events that make one.
//!
//! Next: `kept.rs`.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use gimbal_engine::{Completed, Delta, FinishReason, Usage};
use gimbal_text::Tokenizer;
use serde_json::{Value, json};

use super::events::{Place, Told, id_of, item_of};
use super::kept::{Entry, Owner};
use super::shapes::{Echo, Failure, Incomplete, Item, ResponseObject, ResponseUsage, State};
use crate::AppState;
use crate::budget::Share;
use crate::call;
use crate::fault::{Fault, Kind};
use crate::framing::Frames;
use crate::generations::fault_of;
use crate::openai::{Blocks, Change, Reading, logprobs_of};
use crate::state::unix_ms;
use crate::stream::Encode;

/// Writes one answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) created_at: u64,
    pub(super) model: String,
    pub(super) echo: Echo,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// Alternatives to each token of a text; `None` shows no log probabilities.
    pub(super) top: Option<u8>,
    pub(super) reading: Option<Reading>,
    /// What was known to be spent at the beginning, and then what is.
    pub(super) cost: Usage,
    pub(super) blocks: Blocks,
    /// What is told of each block beside it.
    pub(super) told: Vec<Told>,
    /// Number of the next event.
    pub(super) sequence: u64,
    pub(super) keep: Option<Keep>,
    /// What the body holds of the memory for bodies: the answer repeats it.
    pub(super) _share: Option<Share>,
}

/// Where a response is kept, and with what.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) app: AppState,
    pub(super) owner: Owner,
    pub(super) items: Bytes,
}

impl Answer {
    /// Notes what happened to a block.
    fn note(&self, told: &mut Vec<Told>, at: usize, change: &Change) {
        match change {
            Change::Begins => told.push(Told::new()),
            Change::Grows(_, tokens) => {
                if let (Some(top), Some(told)) = (self.top, told.get_mut(at)) {
                    told.logprobs.extend(logprobs_of(&self.tokenizer, top, tokens));
                }
            }
            Change::Ends => {}
        }
    }

    fn object<'a>(
        &'a self,
        state: State,
        output: Vec<Item<'a>>,
        usage: Option<ResponseUsage>,
    ) -> ResponseObject<'a> {
        let is_cut = state == State::Incomplete;
        ResponseObject {
            id: &self.id,
            object: "response",
            created_at: self.created_at,
            completed_at: (state == State::Completed).then(|| unix_ms() / 1000),
            status: state,
            error: None,
            incomplete_details: is_cut.then_some(Incomplete { reason: "max_output_tokens" }),
            model: &self.model,
            output,
            usage,
            echo: &self.echo,
        }
    }

    /// The object at the end, which is kept where it may be. Only the last item is cut.
    fn done(&self, blocks: &Blocks, told: &[Told], state: State, cost: Usage) -> Bytes {
        let last = blocks.all.len().saturating_sub(1);
        let state_of = |at| if at == last { state } else { State::Completed };
        let all = || blocks.all.iter().zip(told);
        let output =
            all().enumerate().map(|(at, (block, told))| item_of(block, told, state_of(at)));
        let usage = ResponseUsage::new(cost, blocks.thought_tokens);
        let response = call::json_bytes(&self.object(state, output.collect(), Some(usage)));
        if let Some(Keep { app, owner, items }) = &self.keep {
            app.kept().add(Entry {
                id: self.id.clone(),
                owner: *owner,
                response: response.clone(),
                outputs: all().map(|(block, told)| id_of(block, told)).collect(),
                items: items.clone(),
            });
        }
        response
    }

    /// Adds an event with its number.
    fn event(&mut self, out: &mut Frames, name: &str, mut told: Value) {
        told["type"] = name.into();
        told["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        out.named(name, &told);
    }

    fn begin(&mut self, out: &mut Frames) {
        let response = json!(self.object(State::InProgress, Vec::new(), None));
        self.event(out, "response.created", json!({ "response": response.clone() }));
        self.event(out, "response.in_progress", json!({ "response": response }));
    }

    /// Tells what happened to a block, which is in this state if it ends.
    fn tell(&mut self, at: usize, change: Change, state: State, out: &mut Frames) {
        let mut told = std::mem::take(&mut self.told);
        let known = told.get(at).map_or(0, |told| told.logprobs.len());
        self.note(&mut told, at, &change);
        if let (Some(block), Some(told)) = (self.blocks.all.get(at), told.get(at)) {
            let place = Place { block, told, at, known };
            for (name, event) in place.events(change, state) {
                self.event(out, &name, event);
            }
        }
        self.told = told;
    }

    /// Tells that it failed.
    fn fail(&mut self, fault: &Fault, out: &mut Frames) {
        // OpenAI's words for it; ours stand in the message.
        let code = if fault.kind == Kind::Invalid { "invalid_prompt" } else { "server_error" };
        let mut response = self.object(State::Failed, Vec::new(), None);
        response.error = Some(Failure { code, message: &fault.message });
        let response = json!(response);
        self.event(out, "response.failed", json!({ "response": response }));
    }
}

fn state_of(finish: &FinishReason) -> State {
    if matches!(finish, FinishReason::Length) { State::Incomplete } else { State::Completed }
}

impl Encode for Answer {
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Bytes {
        let Some(choice) = prompts.iter().flatten().next() else { return Bytes::new() };
        let mut told = Vec::new();
        let note = |at, change| self.note(&mut told, at, &change);
        let blocks = Blocks::whole(self.reading.as_ref(), &choice.text, &choice.tokens, note);
        self.done(&blocks, &told, state_of(&choice.finish), cost)
    }

    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        if self.sequence == 0 {
            self.begin(out);
        }
        if let Some(fault) = delta.finish.as_ref().and_then(|finish| fault_of(finish, true)) {
            self.fail(&fault, out);
            return ControlFlow::Break(());
        }
        let mut changes = self.blocks.push(&delta.text, delta.token.as_ref());
        self.cost.completion_tokens += u32::from(delta.token.is_some());
        let Some(finish) = &delta.finish else {
            for (at, change) in changes {
                self.tell(at, change, State::Completed, out);
            }
            return ControlFlow::Continue(());
        };
        changes.extend(self.blocks.finish());
        let (end, last) = (state_of(finish), self.blocks.all.len().saturating_sub(1));
        for (at, change) in changes {
            let state = if at == last { end } else { State::Completed };
            self.tell(at, change, state, out);
        }
        let response = self.done(&self.blocks, &self.told, end, self.cost);
        let response: Value = serde_json::from_slice(&response).unwrap_or_default();
        let name = match end {
            State::Incomplete => "response.incomplete",
            _ => "response.completed",
        };
        self.event(out, name, json!({ "response": response }));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use gimbal_engine::TokenInfo;
    use gimbal_text::{ReasoningFormat, TokenizerData};

    use super::*;
    use crate::framing::Framing;

    fn answer(reading: &Reading) -> Answer {
        let echo = Echo {
            background: false,
            instructions: None,
            max_output_tokens: None,
            metadata: json!({}),
            parallel_tool_calls: true,
            previous_response_id: None,
            reasoning: json!({}),
            service_tier: "default",
            store: false,
            temperature: 1.0,
            text: json!({}),
            tool_choice: json!("auto"),
            tools: Vec::new(),
            top_logprobs: 0,
            top_p: 1.0,
            truncation: "disabled",
            user: None,
        };
        Answer {
            id: "resp_1".to_owned(),
            created_at: 1,
            model: "m".to_owned(),
            echo,
            tokenizer: Arc::new(Tokenizer::new(&TokenizerData::byte_level()).expect("own data")),
            top: Some(0),
            reading: Some(reading.clone()),
            cost: Usage { prompt_tokens: 9, cached_tokens: 4, ..Usage::default() },
            blocks: Blocks::new(Some(reading)),
            told: Vec::new(),
            sequence: 0,
            keep: None,
            _share: None,
        }
    }

    fn token(id: u32) -> TokenInfo {
        TokenInfo { id, logprob: -0.5, top: Vec::new(), special: false }
    }

    fn streamed(answer: &mut Answer, pieces: &[&str], finish: &FinishReason) -> Vec<Value> {
        let mut out = Frames::new(Framing::Events);
        for (i, piece) in (0..).zip(pieces) {
            let delta = Delta {
                choice: 0,
                text: (*piece).to_owned(),
                token: Some(token(i)),
                finish: Some(finish.clone()).filter(|_| i as usize + 1 == pieces.len()),
                scores: None,
            };
            let _ = answer.delta(0, delta, &mut out);
        }
        let text = String::from_utf8(out.bytes).expect("text");
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }

    /// Without what is random, or the time.
    fn plain(mut response: Value) -> Value {
        response["completed_at"].take();
        let items = response["output"].as_array_mut().into_iter().flatten();
        items.for_each(|item| drop(item["id"].take()));
        response
    }

    #[test]
    fn thoughts_are_an_item_of_their_own_and_a_stream_is_the_whole_answer() {
        let reading = Reading::inside(ReasoningFormat::Think);
        let pieces = ["So", ".", "</think>", "Yes", "!"];
        for (finish, state) in
            [(FinishReason::EosToken, "completed"), (FinishReason::Length, "incomplete")]
        {
            let mut streams = answer(&reading);
            let events = streamed(&mut streams, &pieces, &finish);
            let choice = Completed {
                text: pieces.concat(),
                tokens: (0..).map(token).zip(pieces.map(str::to_owned)).collect(),
                finish,
                scores: None,
            };
            let cost = Usage { completion_tokens: 5, ..answer(&reading).cost };
            let whole = answer(&reading).whole(&[vec![choice]], cost);
            let whole: Value = serde_json::from_slice(&whole).expect("JSON");
            let last = events.last().expect("events");
            assert_eq!(last["type"], format!("response.{state}"));
            assert_eq!(plain(last["response"].clone()), plain(whole.clone()));
            assert_eq!(whole["output"][0]["content"][0]["text"], "So.");
            let text = &whole["output"][1]["content"][0];
            assert_eq!(
                (&text["text"], &whole["output"][1]["status"]),
                (&json!("Yes!"), &json!(state))
            );
            assert_eq!(whole["usage"]["output_tokens_details"], json!({ "reasoning_tokens": 2 }));
            let of_kind = |kind: &str| {
                let found = events.iter().filter(|event| event["type"] == kind);
                found.filter_map(|event| event["delta"].as_str()).collect::<String>()
            };
            assert_eq!(of_kind("response.reasoning_text.delta"), "So.");
            assert_eq!(of_kind("response.output_text.delta"), "Yes!");
            let done = events.iter().filter(|event| event["type"] == "response.output_item.done");
            let done: Vec<_> = done.map(|event| event["item"].clone()).collect();
            assert_eq!(json!(done), last["response"]["output"]);
        }
    }

    #[test]
    fn what_fails_on_its_way_says_why() {
        let reading = Reading::inside(ReasoningFormat::Think);
        let failed = FinishReason::Error("lost".to_owned());
        let events = streamed(&mut answer(&reading), &["So", ""], &failed);
        let last = events.last().expect("events");
        assert_eq!(
            (&last["type"], &last["response"]["status"]),
            (&json!("response.failed"), &json!("failed"))
        );
        assert_eq!(last["response"]["error"], json!({ "code": "server_error", "message": "lost" }));
    }
}
