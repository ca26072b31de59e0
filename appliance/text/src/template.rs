//! Messages to a prompt, by the model's own Jinja template.
//!
//! A template comes with a model file and is not trusted: it reads no files, and what it may cost
//! is bounded. The language is in `jinja.rs`, what it is told in `template/messages.rs`.
//! Next: `decoder.rs`.

mod continued;
mod messages;

use serde_json::{Map, Value as Json};

use crate::jinja::{Fault, Letter, Meter, Template, Text, Value};
use crate::{TextError, Tokenizer};

/// Bytes of a template; the longest known have 20 thousand.
const SOURCE_BYTES_MAX: usize = 1 << 20;

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    template: Template,
    source: String,
    /// It names the content of messages.
    reads_content: bool,
    bos: Text,
    eos: Text,
}

/// What a template is told besides the messages.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// Ends the prompt with the beginning of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Ends the prompt inside the last message, which the model continues.
    pub continue_final_message: bool,
    /// More variables (`tools`, `enable_thinking` …).
    pub variables: Map<String, Json>,
    /// Seconds since 1970, for templates that write today's date.
    pub now_unix: i64,
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the texts of these tokens.
    ///
    /// # Errors
    /// The template is not Jinja, or far too long.
    #[expect(clippy::needless_pass_by_value, reason = "callers make them for this")]
    pub fn new(source: &str, bos: String, eos: String) -> Result<Self, TextError> {
        if source.len() > SOURCE_BYTES_MAX {
            let why = format!("{} bytes; at most {SOURCE_BYTES_MAX} are read", source.len());
            return Err(TextError::Template { why });
        }
        // An editor's mark of UTF-8 is no part of the prompt.
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let broken = |fault: Fault| TextError::Template { why: describe(fault) };
        let template = Template::new(source).map_err(broken)?;
        let reads_content = source.contains("content");
        let (bos, eos) = (Text::own(&bos), Text::own(&eos));
        Ok(Self { template, source: source.to_owned(), reads_content, bos, eos })
    }

    /// What was compiled.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes the prompt of a conversation.
    ///
    /// # Errors
    /// The template refuses the messages, or passes a limit; the last message cannot be continued.
    pub fn render(&self, messages: &[Json], options: &RenderOptions) -> Result<String, TextError> {
        let prompt = self.prompt(messages, options)?;
        Ok(prompt.iter().map(|letter| letter.char()).collect())
    }

    /// Token ids of a conversation. Control tokens written by the template are such; whatever a
    /// client wrote (messages, names, tools, keys, variables) is text, also where the template cuts
    /// it and joins it again.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`], or the prompt cannot be tokenized.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Json],
        options: &RenderOptions,
    ) -> Result<Vec<u32>, TextError> {
        tokenizer.encode_prompt(&self.prompt(messages, options)?)
    }

    fn prompt(&self, messages: &[Json], options: &RenderOptions) -> Result<Vec<Letter>, TextError> {
        let refused = |fault: Fault| TextError::Render { why: describe(fault) };
        let bytes = messages.iter().chain(options.variables.values()).map(messages::bytes).sum();
        let meter = Meter::new(bytes);
        let mut messages = messages::values(messages, &meter).map_err(refused)?;
        let ending = match options.continue_final_message {
            true => Some(continued::mark(self.reads_content, &mut messages).map_err(refused)?),
            false => None,
        };
        // `transformers` tells templates of these always.
        let mut variables = vec![("tools", Value::None), ("documents", Value::None)];
        for (name, value) in &options.variables {
            variables.push((name, Value::client(value, &meter).map_err(refused)?));
        }
        let add = Value::Bool(options.add_generation_prompt);
        variables.push(("messages", Value::list(messages).map_err(refused)?));
        variables.push(("add_generation_prompt", add));
        variables.push(("bos_token", Value::Text(self.bos.clone())));
        variables.push(("eos_token", Value::Text(self.eos.clone())));
        let rendered = self.template.render(variables, options.now_unix, &meter);
        let mut prompt = rendered.map_err(refused)?;
        if let Some(ending) = ending {
            continued::cut(&mut prompt, &ending, &meter).map_err(refused)?;
        }
        Ok(prompt)
    }
}

/// The error's own words and its line; never the template's source or the messages.
fn describe(fault: Fault) -> String {
    match fault.line {
        Some(line) => format!("{} (line {line})", fault.why),
        None => fault.why,
    }
}

#[cfg(test)]
mod tests;
