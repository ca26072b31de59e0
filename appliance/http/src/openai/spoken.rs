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
pub(crate) struct Reading {
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
pub(crate) struct Reader {
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
    /// That of a prompt which has opened the thoughts, for the tests of doors.
    #[cfg(test)]
    pub(crate) fn inside(format: ReasoningFormat) -> Self {
        Self { tools: None, reasoning: Some((format, true)) }
    }

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

#[cfg(test)]
mod tests {
    use gimbal_text::ToolSpec;
    use serde_json::json;

    use super::*;

    /// Thoughts, answer and calls of a text, and the same of it in single letters.
    fn read(reading: &Reading, text: &str) -> (Option<String>, Option<String>, Vec<String>) {
        let told = |call: &ToolCall| {
            format!("{} {}", call.function.name.as_deref().unwrap_or("?"), call.function.arguments)
        };
        let whole = reading.whole(text);
        let whole = (whole.thought, whole.text, whole.calls.iter().map(told).collect());
        let mut reader = reading.reader();
        let mut said: Vec<Said> =
            text.chars().flat_map(|letter| reader.push(&letter.to_string())).collect();
        said.extend(reader.finish());
        let (mut thought, mut answer, mut calls) = (String::new(), String::new(), Vec::new());
        for said in said {
            match said {
                Said::Thought(more) => thought += &more,
                Said::Text(more) => answer += &more,
                Said::Call { index, name, .. } => {
                    assert_eq!(index, calls.len());
                    calls.push(name + " ");
                }
                Said::Arguments { delta, .. } => {
                    calls.last_mut().expect("a call has begun").push_str(&delta);
                }
            }
        }
        assert_eq!(reader.has_called, !calls.is_empty());
        let streamed = (Some(thought), Some(answer), calls);
        assert_eq!(streamed.0.filter(|text| !text.is_empty()), whole.0, "{text}");
        assert_eq!(streamed.1.filter(|text| !text.trim().is_empty()), whole.1, "{text}");
        assert_eq!(streamed.2, whole.2, "{text}");
        whole
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn thoughts_answers_and_calls_are_told_apart() {
        let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
        let tools = |is_parallel| Tools {
            specs: ToolSpec::read(&tools).expect("fine").into(),
            format: gimbal_text::ToolFormat::Hermes,
            is_parallel,
            is_older: false,
            told: tools.clone(),
            forced: None,
        };
        let think = Some((ReasoningFormat::Think, false));
        let both = Reading { tools: Some(tools(true)), reasoning: think };
        let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";
        let called = || "f {\"a\": 1}".to_owned();
        let text = format!("<think>Hm.</think>\n\nLet me see.\n{call}");
        let (thought, answer, calls) = read(&both, &text);
        assert_eq!((thought, calls), (some("Hm."), vec![called()]));
        assert_eq!(answer.as_deref().map(str::trim), Some("Let me see."));
        let two = format!("{call}\n{call}");
        assert_eq!(read(&both, &two), (None, None, vec![called(), called()]));
        let single = Reading { tools: Some(tools(false)), reasoning: None };
        assert_eq!(read(&single, &two), (None, None, vec![called()]));
        assert_eq!(read(&single, "1 < 2"), (None, some("1 < 2"), Vec::new()));
        let inside = Reading { tools: None, reasoning: Some((ReasoningFormat::Think, true)) };
        let (thought, answer, _) = read(&inside, "So.</think>Yes");
        assert_eq!((thought, answer), (some("So."), some("Yes")));
    }
}
