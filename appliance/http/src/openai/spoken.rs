//! What the text of a chat's answer says: thoughts, an answer, calls of tools.
//!
//! One for each choice; where neither thoughts nor calls can come there is none, and text is text.
//! Next: `chat.rs`.

use gimbal_text::{Piece, ReasoningFormat, ReasoningSplitter, Thought, ToolParser};

use super::shapes::{CalledFunction, ToolCall};
use super::tools::Tools;
use crate::access::random_hex;

/// How the answers of a request are read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) tools: Option<Tools>,
    /// How thoughts are written, and whether the prompt has opened them.
    pub(super) reasoning: Option<(ReasoningFormat, bool)>,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Thought(String),
    Text(String),
    /// A call begins.
    Call {
        index: usize,
        id: String,
        name: String,
    },
    /// More of the arguments of the last call.
    Arguments {
        index: usize,
        delta: String,
    },
}

/// Reads one answer.
#[derive(Debug)]
pub(super) struct Reader {
    splitter: Option<ReasoningSplitter>,
    parser: Option<ToolParser>,
    /// Further calls are left out.
    is_single: bool,
    /// A call has begun.
    pub(super) has_called: bool,
}

/// A whole answer.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    pub(super) thought: Option<String>,
    pub(super) text: Option<String>,
    pub(super) calls: Vec<ToolCall>,
}

impl Reading {
    /// True if text may be more than text.
    pub(super) fn is_needed(&self) -> bool {
        self.tools.is_some() || self.reasoning.is_some()
    }

    pub(super) fn reader(&self) -> Reader {
        let split =
            |(format, inside): (ReasoningFormat, bool)| ReasoningSplitter::new(format, inside);
        let parser = |tools: &Tools| ToolParser::new(tools.format, &tools.specs);
        Reader {
            splitter: self.reasoning.map(split),
            parser: self.tools.as_ref().map(parser),
            is_single: self.tools.as_ref().is_some_and(|tools| !tools.is_parallel),
            has_called: false,
        }
    }

    /// Reads a whole answer.
    pub(super) fn whole(&self, text: &str) -> Spoken {
        let mut reader = self.reader();
        let mut spoken = Spoken::default();
        let mut said = reader.push(text);
        said.extend(reader.finish());
        for said in said {
            match said {
                Said::Thought(more) => spoken.thought.get_or_insert_default().push_str(&more),
                Said::Text(more) => spoken.text.get_or_insert_default().push_str(&more),
                Said::Call { index, id, name } => spoken.calls.push(ToolCall {
                    index: Some(index),
                    id: Some(id),
                    kind: Some("function"),
                    function: CalledFunction { name: Some(name), arguments: String::new() },
                }),
                Said::Arguments { delta, .. } => {
                    if let Some(call) = spoken.calls.last_mut() {
                        call.function.arguments += &delta;
                    }
                }
            }
        }
        // Blanks around calls are none of the answer.
        if !spoken.calls.is_empty() {
            spoken.text = spoken.text.filter(|text| !text.trim().is_empty());
        }
        spoken
    }
}

impl Reader {
    /// Takes more text, and tells what became certain.
    pub(super) fn push(&mut self, text: &str) -> Vec<Said> {
        let thoughts = match &mut self.splitter {
            Some(splitter) => splitter.push(text),
            None => vec![Thought::Text(text.to_owned())],
        };
        self.read(thoughts)
    }

    /// The rest, when no more text comes.
    pub(super) fn finish(&mut self) -> Vec<Said> {
        let thoughts = self.splitter.as_mut().map(ReasoningSplitter::finish);
        let mut said = self.read(thoughts.unwrap_or_default());
        let rest = self.parser.as_mut().map(ToolParser::finish).unwrap_or_default();
        said.extend(self.pieces(rest));
        said
    }

    fn read(&mut self, thoughts: Vec<Thought>) -> Vec<Said> {
        let mut said = Vec::new();
        for thought in thoughts {
            match thought {
                Thought::Reasoning(text) => said.push(Said::Thought(text)),
                Thought::Text(text) => match &mut self.parser {
                    None => said.push(Said::Text(text)),
                    Some(parser) => {
                        let pieces = parser.push(&text);
                        said.extend(self.pieces(pieces));
                    }
                },
            }
        }
        said.retain(
            |said| !matches!(said, Said::Text(text) | Said::Thought(text) if text.is_empty()),
        );
        said
    }

    fn pieces(&mut self, pieces: Vec<Piece>) -> Vec<Said> {
        let mut said = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => said.push(Said::Text(text)),
                Piece::Call { index, .. } | Piece::Arguments { index, .. }
                    if self.is_single && index > 0 => {}
                Piece::Call { index, name } => {
                    self.has_called = true;
                    let id = format!("call_{}", random_hex());
                    said.push(Said::Call { index, id, name });
                }
                Piece::Arguments { index, delta } => said.push(Said::Arguments { index, delta }),
            }
        }
        said
    }
}
