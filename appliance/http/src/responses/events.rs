//! The items of a response, and the events that tell what happens to one.
//!
//! Next: `answer.rs`.

use serde_json::{Value, json};

use super::shapes::{Item, Part, State};
use crate::access::random_hex;
use crate::openai::{Block, Change};

/// What is told of a block beside what it holds.
#[derive(Debug)]
pub(super) struct Told {
    id: String,
    pub(super) logprobs: Vec<Value>,
}

impl Told {
    pub(super) fn new() -> Self {
        let id = format!("{}{}", random_hex(), random_hex());
        Self { id, logprobs: Vec::new() }
    }
}

/// A block to which something happens.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) block: &'a Block,
    pub(super) told: &'a Told,
    /// Which of the output's items it is.
    pub(super) at: usize,
    /// Log probabilities that were told before.
    pub(super) known: usize,
}

impl Place<'_> {
    /// The events that tell a change, by their names.
    pub(super) fn events(&self, change: Change, state: State) -> Vec<(String, Value)> {
        let Self { block, told, at, known } = self;
        let kind = match block {
            Block::Thought(_) => "response.reasoning_text",
            Block::Text(_) => "response.output_text",
            Block::Call { .. } => "response.function_call_arguments",
        };
        let item = |item: Value| json!({ "output_index": at, "item": item });
        match change {
            Change::Begins => {
                let empty = emptied(block);
                let mut fresh = json!(item_of(&empty, told, State::InProgress));
                let part = part_of(&empty, told);
                if part.is_some() {
                    fresh["content"] = json!([]);
                }
                let added = ("response.output_item.added".to_owned(), item(fresh));
                let part = part.map(|part| self.part("response.content_part.added", part));
                [Some(added), part].into_iter().flatten().collect()
            }
            Change::Grows(more, _) => {
                let mut delta = json!({ "delta": more });
                if let Block::Text(_) = block {
                    delta["logprobs"] = told.logprobs.get(*known..).unwrap_or_default().into();
                }
                vec![(format!("{kind}.delta"), self.placed(delta))]
            }
            Change::Ends => {
                let done = match block {
                    Block::Thought(text) => json!({ "text": text }),
                    Block::Text(text) => json!({ "text": text, "logprobs": told.logprobs }),
                    Block::Call { name, arguments, .. } => {
                        json!({ "name": name, "arguments": arguments })
                    }
                };
                let done = (format!("{kind}.done"), self.placed(done));
                let part = part_of(block, told);
                let part = part.map(|part| self.part("response.content_part.done", part));
                let whole = item(json!(item_of(block, told, state)));
                let item = ("response.output_item.done".to_owned(), whole);
                [Some(done), part, Some(item)].into_iter().flatten().collect()
            }
        }
    }

    fn part(&self, name: &str, part: Part<'_>) -> (String, Value) {
        (name.to_owned(), self.placed(json!({ "part": part })))
    }

    /// An event about the item, or its only part.
    fn placed(&self, mut event: Value) -> Value {
        event["item_id"] = id_of(self.block, self.told).into();
        event["output_index"] = self.at.into();
        if !matches!(self.block, Block::Call { .. }) {
            event["content_index"] = 0.into();
        }
        event
    }
}

/// The id of an item.
pub(super) fn id_of(block: &Block, told: &Told) -> String {
    let prefix = match block {
        Block::Thought(_) => "rs",
        Block::Text(_) => "msg",
        Block::Call { .. } => "fc",
    };
    format!("{prefix}_{}", told.id)
}

/// A block as an item.
pub(super) fn item_of<'a>(block: &'a Block, told: &'a Told, status: State) -> Item<'a> {
    let (id, content) = (id_of(block, told), part_of(block, told).into_iter().collect());
    match block {
        Block::Thought(_) => Item::Reasoning { id, status, summary: [], content },
        Block::Text(_) => Item::Message { id, status, role: "assistant", content },
        Block::Call { id: call_id, name, arguments } => {
            Item::FunctionCall { id, status, call_id, name, arguments }
        }
    }
}

fn part_of<'a>(block: &'a Block, told: &'a Told) -> Option<Part<'a>> {
    match block {
        Block::Thought(text) => Some(Part::ReasoningText { text }),
        Block::Text(text) => {
            Some(Part::OutputText { text, annotations: [], logprobs: &told.logprobs })
        }
        Block::Call { .. } => None,
    }
}

/// A block before anything of it came.
fn emptied(block: &Block) -> Block {
    match block {
        Block::Thought(_) => Block::Thought(String::new()),
        Block::Text(_) => Block::Text(String::new()),
        Block::Call { id, name, .. } => {
            Block::Call { id: id.clone(), name: name.clone(), arguments: String::new() }
        }
    }
}
