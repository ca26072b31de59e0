//! An answer in Ollama's words: one object, or a line for each piece and one for the end.
//!
//! Next: `info.rs`.

use std::ops::ControlFlow;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use gimbal_engine::{Completed, Delta, FinishReason, Usage};
use serde_json::{Map, Value};

use super::shapes::{End, OllamaCall, OllamaChat, OllamaFunction, OllamaMessage, OllamaText};
use crate::call;
use crate::fault::{Door, Schema};
use crate::framing::Frames;
use crate::generations::fault_of;
use crate::openai::{Block, Blocks, Change, Reading};
use crate::stream::Encode;

/// Which route is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Chat,
    Generate,
}

/// Writes one answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) form: Form,
    pub(super) model: String,
    pub(super) began: Instant,
    pub(super) reading: Option<Reading>,
    pub(super) blocks: Blocks,
    /// Why it ended, once it has.
    pub(super) finish: Option<FinishReason>,
}

/// A piece of an answer.
#[derive(Debug, Default)]
struct Piece<'a> {
    text: &'a str,
    thought: &'a str,
    calls: Vec<OllamaCall<'a>>,
}

impl Answer {
    /// Writes a piece, with how it ends.
    fn write<T>(&self, piece: Piece<'_>, end: End, write: impl FnOnce(&dyn Told) -> T) -> T {
        let created_at = now();
        let (model, created_at) = (self.model.as_str(), created_at.as_str());
        match self.form {
            Form::Chat => {
                let Piece { text, thought, calls } = piece;
                let message = OllamaMessage {
                    content: text,
                    thinking: thought,
                    tool_calls: calls,
                    ..OllamaMessage::default()
                };
                write(&OllamaChat { model, created_at, message, end })
            }
            Form::Generate => {
                let (response, thinking) = (piece.text, piece.thought);
                write(&OllamaText { model, created_at, response, thinking, end })
            }
        }
    }

    /// The answer to who asks for nothing: the model is there.
    pub(super) fn loaded(&self) -> Bytes {
        self.write(Piece::default(), End::loaded(), |told| told.bytes())
    }
}

/// An object of either route.
trait Told {
    fn bytes(&self) -> Bytes;
    fn add(&self, out: &mut Frames);
}

impl<T: serde::Serialize> Told for T {
    fn bytes(&self) -> Bytes {
        call::json_bytes(self)
    }

    fn add(&self, out: &mut Frames) {
        out.add(self);
    }
}

/// A call, once it is whole; one that was cut has no arguments.
fn call_of(index: usize, block: &Block) -> Option<OllamaCall<'_>> {
    let Block::Call { id, name, arguments } = block else { return None };
    let arguments: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    Some(OllamaCall { id, function: OllamaFunction { index, name, arguments } })
}

impl Encode for Answer {
    fn whole(&self, prompts: &[Vec<Completed>], cost: Usage) -> Bytes {
        let Some(choice) = prompts.iter().flatten().next() else { return Bytes::new() };
        let blocks = Blocks::whole(self.reading.as_ref(), &choice.text, &choice.tokens, |_, _| {});
        let (mut text, mut thought, mut calls) = (String::new(), String::new(), Vec::new());
        for block in &blocks.all {
            match block {
                Block::Text(more) => text.push_str(more),
                Block::Thought(more) => thought.push_str(more),
                Block::Call { .. } => calls.extend(call_of(calls.len(), block)),
            }
        }
        let end = End::of(&choice.finish, cost, self.began.elapsed());
        self.write(Piece { text: &text, thought: &thought, calls }, end, |told| told.bytes())
    }

    fn delta(&mut self, _prompt: usize, delta: Delta, out: &mut Frames) -> ControlFlow<()> {
        if let Some(fault) = delta.finish.as_ref().and_then(|finish| fault_of(finish, true)) {
            out.add(&fault.body(Schema::Ollama, Door::V1));
            return ControlFlow::Break(());
        }
        let mut changes = self.blocks.push(&delta.text, delta.token.as_ref());
        if delta.finish.is_some() {
            changes.extend(self.blocks.finish());
            self.finish = delta.finish;
        }
        for (at, change) in changes {
            let Some(block) = self.blocks.all.get(at) else { continue };
            let before = &self.blocks.all[..at];
            let index = before.iter().filter(|block| matches!(block, Block::Call { .. })).count();
            let piece = match (block, &change) {
                (Block::Text(_), Change::Grows(text, _)) => Piece { text, ..Piece::default() },
                (Block::Thought(_), Change::Grows(thought, _)) => {
                    Piece { thought, ..Piece::default() }
                }
                (Block::Call { .. }, Change::Ends) => {
                    Piece { calls: call_of(index, block).into_iter().collect(), ..Piece::default() }
                }
                _ => continue,
            };
            self.write(piece, End::default(), |told| told.add(out));
        }
        ControlFlow::Continue(())
    }

    fn end(&mut self, cost: Usage, out: &mut Frames) {
        let finish = self.finish.take().unwrap_or(FinishReason::EosToken);
        let end = End::of(&finish, cost, self.began.elapsed());
        self.write(Piece::default(), end, |told| told.add(out));
    }
}

/// The time, as RFC 3339 writes it.
pub(super) fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    moment(since.as_secs(), since.subsec_micros())
}

/// A moment, as RFC 3339 writes it.
pub(super) fn moment(unix_seconds: u64, micros: u32) -> String {
    let day = gimbal_text::utc(unix_seconds);
    format!("{day}.{micros:06}Z")
}
