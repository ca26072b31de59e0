//! A conversation as a body says it, and as the template expects it.
//!
//! Next: `chat.rs`.

use gimbal_engine::{Prompt, Turn};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::history;
use super::tools::Tools;
use crate::fault::Fault;
use crate::schemas;
use crate::typed::{Flag, Object, Tree};

/// The fields of a conversation.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Conversation {
    #[schema(schema_with = schemas::messages)]
    pub(crate) messages: Option<Tree>,
    #[schema(schema_with = schemas::flag)]
    pub(crate) add_generation_prompt: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    pub(crate) continue_final_message: Option<Flag>,
    #[schema(schema_with = schemas::object)]
    pub(crate) chat_template_kwargs: Option<Object>,
    #[schema(schema_with = schemas::variable)]
    pub(crate) enable_thinking: Option<Tree>,
    #[schema(schema_with = schemas::variable)]
    pub(crate) reasoning_effort: Option<Tree>,
    #[schema(schema_with = schemas::flag)]
    pub(crate) add_special_tokens: Option<Flag>,
}

impl Conversation {
    /// Bytes of the trees that were made of it.
    pub(super) fn bytes(&self) -> usize {
        let of = |tree: &Option<Tree>| tree.as_ref().map_or(0, |tree| tree.bytes);
        let variables = self.chat_template_kwargs.as_ref().map_or(0, |object| object.bytes);
        of(&self.messages) + variables + of(&self.enable_thinking) + of(&self.reasoning_effort)
    }

    /// The conversation, as the template expects it, with the tools that may be called.
    pub(super) fn prompt(self, tools: Option<&Tools>) -> Result<Prompt, Fault> {
        let turn = self.turn()?;
        let messages = match self.messages.map(|tree| tree.value) {
            Some(Value::Array(messages)) if !messages.is_empty() => messages,
            Some(Value::Array(_)) => return Err(Fault::field("messages", "must not be empty")),
            Some(_) => return Err(Fault::field("messages", "must be a list")),
            None => return Err(Fault::field("messages", "is missing")),
        };
        let messages = messages.into_iter().enumerate().map(message);
        let mut messages: Vec<Value> = messages.collect::<Result<_, _>>()?;
        let mut variables = self.chat_template_kwargs.unwrap_or_default().members;
        // What other servers let a client say at the top.
        let more = [
            ("enable_thinking", self.enable_thinking),
            ("reasoning_effort", self.reasoning_effort),
        ];
        for (name, value) in more {
            if let Some(tree) = value {
                variables.insert(name.to_owned(), tree.value);
            }
        }
        if let Some(tools) = tools {
            variables.insert("tools".to_owned(), tools.told.clone());
        }
        if let Some(words) = tools.and_then(Tools::in_words) {
            history::in_words(&mut messages, &words);
        }
        let add_special_tokens = self.add_special_tokens.is_some_and(|Flag(add)| add);
        Ok(Prompt::Chat { messages, variables, turn, add_special_tokens })
    }

    /// Where the prompt ends; the assistant's turn is begun unless a field says otherwise.
    fn turn(&self) -> Result<Turn, Fault> {
        let add = self.add_generation_prompt.map(|Flag(add)| add);
        let continues = self.continue_final_message.is_some_and(|Flag(continues)| continues);
        match (continues, add) {
            (true, Some(true)) => Err(Fault::field(
                "continue_final_message",
                "not beside add_generation_prompt: true; a new turn is begun or the last one goes on",
            )),
            (true, _) => Ok(Turn::Continued),
            (false, Some(false)) => Ok(Turn::Closed),
            (false, _) => Ok(Turn::Begun),
        }
    }
}

/// A message as templates expect it: a role, and content as one string.
fn message((i, value): (usize, Value)) -> Result<Value, Fault> {
    let field = |name: &str| format!("messages[{i}]{name}");
    let Value::Object(mut message) = value else {
        return Err(Fault::field(&field(""), "must be an object"));
    };
    match message.get("role") {
        // Templates know the older name only.
        Some(Value::String(role)) if role == "developer" => {
            message.insert("role".into(), "system".into());
        }
        Some(Value::String(_)) => {}
        _ => return Err(Fault::field(&field(".role"), "must be a string")),
    }
    history::calls(i, &mut message)?;
    let content = match message.get("content") {
        Some(Value::String(_)) => return Ok(Value::Object(message)),
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(parts)) => {
            let part = |part: &Value| match part["type"].as_str()? {
                "text" | "input_text" | "output_text" => part["text"].as_str().map(str::to_owned),
                // What an assistant said instead of an answer.
                "refusal" => part["refusal"].as_str().map(str::to_owned),
                _ => None,
            };
            let texts: Option<Vec<String>> = parts.iter().map(part).collect();
            texts
                .ok_or_else(|| Fault::unsupported(&field(".content parts that are no text")))?
                // As vLLM and llama.cpp.
                .join("\n")
        }
        Some(_) => return Err(Fault::field(&field(".content"), "must be a string or text parts")),
    };
    message.insert("content".into(), content.into());
    Ok(Value::Object(message))
}
