//! What readers of calls hand on: names, and arguments as JSON that grows.
//!
//! Nothing is read here. Next: `scan.rs`.

use serde_json::Value;

use super::spec::{self, ToolSpec};

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What the model says.
    Text(String),
    /// A call begins.
    Call {
        /// Calls of the same answer before it.
        index: usize,
        /// The tool's name.
        name: String,
    },
    /// More of a call's arguments: together they are an object of JSON.
    Arguments {
        /// The call they belong to, which is always the last.
        index: usize,
        /// Text of JSON.
        delta: String,
    },
}

/// What a letter was to who read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// A part of it; more must come.
    More,
    /// Its last.
    Done,
    /// It ended before this one.
    Before,
    /// It does not fit: this is no call.
    Wrong,
}

/// The pieces of an answer that nobody has taken yet.
#[derive(Debug)]
pub(super) struct Calls {
    tools: Vec<(String, Option<Value>)>,
    count: usize,
    pieces: Vec<Piece>,
}

impl Calls {
    pub(super) fn new(tools: &[ToolSpec]) -> Self {
        let tools = tools.iter().map(|tool| (tool.name.clone(), tool.parameters.clone()));
        Self { tools: tools.collect(), count: 0, pieces: Vec::new() }
    }

    /// Whether a call of that name may come. Without a marker any JSON could be meant, so only a
    /// tool's name makes it a call; behind a marker the client is told even of one that is not there,
    /// as vLLM does.
    pub(super) fn may(&self, name: &str, is_weak: bool) -> bool {
        match is_weak {
            true => self.tools.iter().any(|(known, _)| known == name),
            false => spec::is_name(name),
        }
    }

    /// The schema of a tool's arguments.
    pub(super) fn schema(&self, name: &str) -> Option<&Value> {
        self.tools.iter().find(|(known, _)| known == name)?.1.as_ref()
    }

    pub(super) fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }

    pub(super) fn begin(&mut self, name: &str) {
        self.pieces.push(Piece::Call { index: self.count, name: name.to_owned() });
        self.count += 1;
    }

    /// More of the arguments of the call begun last.
    pub(super) fn arguments(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Arguments { delta, .. }) => delta.push_str(text),
            _ => {
                let index = self.count.saturating_sub(1);
                self.pieces.push(Piece::Arguments { index, delta: text.to_owned() });
            }
        }
    }

    /// Calls that have begun.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// What changes whenever a call or arguments are handed on.
    pub(super) fn handed(&self) -> (usize, usize) {
        let last = match self.pieces.last() {
            Some(Piece::Arguments { delta, .. }) => delta.len(),
            _ => 0,
        };
        (self.count, last)
    }

    pub(super) fn take(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.pieces)
    }
}
